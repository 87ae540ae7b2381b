"""What a job leaves: metric lines, event files, evaluation, exported model, report.

Needs TensorFlow to write event files and models; nothing of the training loop.
"""
