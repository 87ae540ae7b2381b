"""What the platform says on its own terminal."""

import sys


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def warn_on_stderr(text: str) -> None:
    """One line."""
    sys.stderr.write(f"local_test: {text}\n")
    sys.stderr.flush()
