"""Prepares data: pictures → TFRecord shards and dataset.json, on disk or in S3."""

import signal
import sys

# `python -m dataset.…` comes through here under the name "-m": Ctrl-C while modules are loaded shows no traceback
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
