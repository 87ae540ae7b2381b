"""Each claim of the docs as a command. Figures are compared within one run, interleaved, because machines vary."""

import os
import sys

from local_test.util.console import begin_program

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before a topic imports TensorFlow
if sys.argv[:1] == ["-m"]:  # so it is as `python -m benchmarks.…` comes through here: all of them are programs
    begin_program()
