"""`python -m local_test`, and the command `local-test`."""

import signal
import sys

# loading all modules takes a second or two, in which Ctrl-C ends this program without a traceback
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from local_test.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
