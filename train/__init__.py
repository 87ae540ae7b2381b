"""The training program: all that goes into the image.

Needs the toolkit (sagemaker-training), TensorFlow with Keras, and `/opt/ml` as the service fills it.
"""
