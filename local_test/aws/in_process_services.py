"""What an execution's steps ask for, of this same server: as clients do, but without a socket."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from werkzeug.test import Client

from local_test.aws.clients import Clients
from local_test.data.object_store import ObjectStore
from local_test.executions.services import ServiceError

_SCOPE = "AWS4-HMAC-SHA256 Credential=local/20260101/{}/sagemaker/aws4_request, SignedHeaders=host, Signature=0"


class InProcessServices:
    """The Services of one region. `application`: the WSGI application that answers clients."""

    def __init__(
        self,
        application: Callable[..., Any],
        clients: Clients,
        storage: ObjectStore,
        region: str,
        keep_data: Callable[[], None],
    ) -> None:
        self._application, self._clients, self._storage = application, clients, storage
        self._region, self._keep_data = region, keep_data

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": _SCOPE.format(self._region)}
        answer = Client(self._application).post("/", data=json.dumps(request), headers=headers)
        found = json.loads(answer.data or b"{}")
        if answer.status_code >= 300:
            code = str(found.get("__type", "InternalFailure")).rpartition("#")[2]
            raise ServiceError(code, str(found.get("message", found.get("Message", answer.status))))
        return dict(found)

    def read(self, uri: str, most: int) -> bytes:
        return self._storage.read(uri, most)

    def send(self, queue_url: str, body: str) -> None:
        try:
            self._clients.get("sqs", self._region).send_message(QueueUrl=queue_url, MessageBody=body)
        except ClientError as error:
            raise ServiceError(error.response["Error"]["Code"], error.response["Error"]["Message"]) from None
        except (BotoCoreError, ValueError) as error:
            raise ServiceError("ValidationException", str(error)) from None

    def keep_data(self) -> None:
        self._keep_data()
