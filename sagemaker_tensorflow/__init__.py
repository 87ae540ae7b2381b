"""`from sagemaker_tensorflow import PipeModeDataset`: the official reader's interface, for TensorFlow 2.21.

The official package, sagemaker-tensorflow, ends with TensorFlow 2.14 and Python 3.10. Scripts written for it run
unchanged on this one.
"""

from sagemaker_tensorflow.beside import import_beside

with import_beside("train"):
    from sagemaker_tensorflow.pipemode import PipeModeDataset, PipeModeDatasetException

__all__ = ["PipeModeDataset", "PipeModeDatasetException"]
