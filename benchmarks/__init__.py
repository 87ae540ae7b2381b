"""Each claim of the docs as a command. Figures are compared within one run, interleaved, because machines vary."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before a topic imports TensorFlow
