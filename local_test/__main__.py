"""`python -m local_test`, and the command `local-test`."""

import sys

from local_test.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
