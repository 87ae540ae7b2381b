"""Expected failures: each is one line for the user, never a traceback."""

import re

_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]*@")


class DatasetError(Exception):
    """Something the user can act on: what is wrong, what was received, what was expected."""


class DownloadError(DatasetError):
    """The archive could not be downloaded; `--source auto` then draws its own pictures."""


def to_one_line(error: object) -> str:
    """The error's message with everything unprintable escaped, as names in archives may hold any character, and without
    the password of an address."""
    return _PASSWORD.sub(r"\1***@", "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error)))


def describe_error(error: BaseException) -> str:
    """The reason of an error of the system or of a library, without its type."""
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__
