"""What is trained: the built-in networks, a custom model, augmentation.

Needs Keras and `runtime`.
"""
