"""Dispatches SageMaker's operations: validates a request against botocore's model, then calls the operation."""

import errno
import json
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from local_test.api.json_protocol import Answer, answer, decode, refusal
from local_test.errors import BadRequest, LocalTestError
from local_test.request.guard import Guard
from local_test.request.validation import service_model, validate
from local_test.util.arns import DEFAULT_REGION
from local_test.util.console import warn_on_stderr

Request = dict[str, Any]
Operation = Callable[[Request], Mapping[str, Any] | None]  # valid request → response
Operations = Callable[[str], Mapping[str, Operation]]  # region → its operations by name


INTERRUPT = "InterruptTrainingJob"  # the one operation that the service lacks: there, interruptions just happen
_STRICT = Guard()
# what this machine refuses, which is no bug: room, rights, a disk that fails, files and memory
_REFUSED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
_SHAPES = {INTERRUPT: "StopTrainingJob"}  # whose input and output it takes


class NotHandled(Exception):  # noqa: N818 - not an error: somebody else answers it
    """The request is about a resource that this platform does not keep; moto answers it."""


class Api:
    """Operations of a service, of each region by name. No sockets: a body in, an answer out. `guard`: what requests may
    name."""

    def __init__(self, operations: Operations, service: str = "sagemaker", guard: Guard = _STRICT) -> None:
        self._operations, self._service, self._guard = operations, service, guard
        self._names = frozenset(operations(DEFAULT_REGION))

    def knows(self, operation: str) -> bool:
        return operation in self._names

    def answer(self, operation: str, body: bytes, region: str) -> Answer | None:
        """The service's answer, None if the request is about a resource that is not kept here."""
        model = _SHAPES.get(operation, operation)
        try:
            request = decode(body)
            validate(request, model, self._service)
            self._guard.check(request)
            response = self._operations(region)[operation](request)
        except NotHandled:
            return None
        except LocalTestError as error:
            return refusal(error.code, str(error))
        except OSError as error:
            if error.errno not in _REFUSED:
                return self._bug(operation, body)
            return refusal(BadRequest.code, f"The change can't be kept: {error.strerror}. Received: {operation}")
        except Exception:
            return self._bug(operation, body)
        return answer(response, service_model(self._service).operation_model(model).output_shape)

    def _bug(self, operation: str, body: bytes) -> Answer:
        """The client gets the service's answer for its own bugs."""
        warn_on_stderr(f"{operation} {_short(body)}\n{traceback.format_exc()}")
        return refusal("InternalFailure", "A bug of the local platform; its traceback is on the server's terminal", 500)


def _short(body: bytes) -> str:
    return json.dumps(body[:200].decode(errors="replace"))
