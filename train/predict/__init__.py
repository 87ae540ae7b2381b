"""The exported model on pictures from outside: `python -m train.predict MODEL PICTURE…`.

Needs TensorFlow and Pillow; nothing of the training.
"""
