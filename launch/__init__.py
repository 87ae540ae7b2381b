"""One request and thin clients that send it: boto3, AWS CLI, SDK v2, SDK v3.

Each client needs the package it is named after, nothing else.
"""

import signal
import sys

# `python -m launch.…` comes through here under the name "-m": Ctrl-C while modules are loaded shows no traceback
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
