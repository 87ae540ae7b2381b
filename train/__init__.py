"""The training program: all that goes into the image.

Needs the toolkit (sagemaker-training), TensorFlow with Keras, and `/opt/ml` as the service fills it.
"""

import signal
import sys

# `python -m train.…` comes through here under the name "-m": Ctrl-C while modules are loaded shows no traceback
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
