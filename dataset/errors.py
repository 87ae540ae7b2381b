"""Failures that are expected: each is one line for the user, never a traceback."""


class DatasetError(Exception):
    """Something the user can act on: what is wrong, what was received, what was expected."""


class DownloadError(DatasetError):
    """The archive could not be had from the network; `auto` goes on without it."""


def one_line(error: BaseException) -> str:
    """The error's message with everything unprintable escaped: names in archives may hold any character."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))


def why(error: BaseException) -> str:
    """The shortest telling text of an error of the system or of a library."""
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__
