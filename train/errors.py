"""Failures a person can act on, kept apart from bugs."""


class TrainingError(Exception):
    """An expected failure. Its text is the one line that reaches `/opt/ml/output/failure` and `FailureReason`."""


class DataError(TrainingError):
    """The input data is not what it should be: truncated, corrupt, of another format or shape, or missing."""


class NoRecordsError(DataError):
    """A channel has no record. Where hosts share a channel's objects, one host may get none."""


class StopRequested(Exception):  # noqa: N818 - an order of the platform, not an error
    """The platform asked the job to stop (SIGTERM). Raised wherever the job waits, so that nothing has to be killed."""
