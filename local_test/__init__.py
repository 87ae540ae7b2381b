"""SageMaker on this machine: runs the image as the service would.

Needs boto3 and docker; `serve` needs moto and tuning needs optuna, too.
"""

import signal
import sys

# `python -m local_test` comes through here under the name "-m", the command local-test under its own: Ctrl-C while
# modules are loaded, which takes a second or two, shows no traceback
_program = "".join(sys.argv[:1]).rpartition("/")[2]
if _program in ("-m", "local-test") and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
