"""What an execution asks others for: SageMaker's operations as clients call them, objects of S3, messages of SQS."""

from collections.abc import Mapping
from typing import Any, Protocol

from local_test.errors import LocalTestError


class ServiceError(LocalTestError):
    """An operation was refused, with the service's code for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Services(Protocol):
    """Those of one region. Each raises ServiceError, or another LocalTestError, if it is refused."""

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of an operation of SageMaker; times are epoch seconds."""

    def read(self, uri: str, most: int) -> bytes:
        """An object. DataError if it has more bytes."""

    def send(self, queue_url: str, body: str) -> None:
        """A message to a queue of SQS."""

    def keep_data(self) -> None:
        """Keeps what S3 and the model registry hold on disk, as far as this server is where they are."""
