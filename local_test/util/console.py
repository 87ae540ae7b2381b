"""What the platform says on its own terminal."""

import sys


def warn_on_stderr(text: str) -> None:
    """One line."""
    sys.stderr.write(f"local_test: {text}\n")
    sys.stderr.flush()
