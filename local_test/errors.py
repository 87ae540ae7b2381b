"""Expected failures: each is one line for a person, and carries the name the service gives it where it has one."""


class LocalTestError(Exception):
    """A failure that the caller can mend. `code` is the service's exception name."""

    code = "ValidationException"


class BadRequest(LocalTestError):  # noqa: N818 - named as the service's clients know them
    """The job as asked for can't be run: a wrong, missing or unsupported member, a channel without data."""


class ResourceInUse(LocalTestError):  # noqa: N818
    """A job of that name exists."""

    code = "ResourceInUse"


class ResourceNotFound(LocalTestError):  # noqa: N818
    """There is no experiment, trial, component or tuning job of that name."""

    code = "ResourceNotFound"


class RunnerError(LocalTestError):
    """No engine, no image, no toolkit: the machine can't run the container."""


class DataError(LocalTestError):
    """An object can't be read, or has changed since the job was created."""


class Cancelled(Exception):  # noqa: N818 - not an error: somebody asked for it
    """Work ended because the job is being stopped."""
