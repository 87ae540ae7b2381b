"""Records → shuffled, decoded batches.

Needs NumPy, TensorFlow for image files, and `records`.
"""
