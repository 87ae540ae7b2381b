"""What the platform says on its own terminal."""

import re
import sys

# C0 but for tab and line end, DEL, C1; marks of a text's direction; other line ends; halves of surrogate pairs
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]*@")


def printable(text: str) -> str:
    """Text from a job or a server, for a terminal: nothing in it moves the cursor, hides or turns other text, or is the
    password of an address."""
    escaped = _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)
    return _PASSWORD.sub(r"\1***@", escaped) if "://" in escaped else escaped


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def warn_on_stderr(text: str) -> None:
    """One line."""
    sys.stderr.write(f"local_test: {printable(text)}\n")
    sys.stderr.flush()
