"""Every operation of SageMaker is executed, stored or refused: none answers success for work that was not done."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from moto.core.utils import camelcase_to_underscores
from moto.sagemaker.responses import SageMakerResponse

from local_test.request.validation import service_model
from local_test.server.mocked_operations import STORED
from tests.support.served import Served

SCOPE = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as server:
        yield server


def ask(served: Served, operation: str) -> tuple[int, str]:
    """Status and text of the answer to an empty request."""
    connection = HTTPConnection(urlsplit(served.exports["AWS_ENDPOINT_URL"]).netloc, timeout=60)
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": SCOPE}
    try:
        connection.request("POST", "/", b"{}", headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_each_operation_of_botocores_model_has_one_of_three_answers(served: Served) -> None:
    executed, refused = set(), set()
    for operation in set(service_model().operation_names) - STORED:
        status, text = ask(served, operation)
        assert status < 500, (operation, text)
        (refused if f"does not execute {operation}: nothing would run" in text else executed).add(operation)
    some = {"CreateTrainingJob", "StopHyperParameterTuningJob", "DeleteProcessingJob", "Search", "ListTags"}
    assert some | {"CreatePipeline", "StartPipelineExecution", "SendPipelineExecutionStepFailure"} <= executed
    assert {"CreateTransformJob", "CreateAutoMLJob", "CreateEndpoint", "StartMlflowTrackingServer"} <= refused
    assert not {name for name in executed if "Job" in name and not re.search("Training|Tuning|Processing", name)}


def test_what_is_stored_is_motos_and_runs_nothing() -> None:
    assert set(service_model().operation_names) >= STORED
    assert all(hasattr(SageMakerResponse, camelcase_to_underscores(operation)) for operation in STORED)
    assert not {operation for operation in STORED if operation.startswith(("Start", "Stop", "Send", "Retry"))}


def test_a_model_is_stored(served: Served) -> None:
    client = served.client("sagemaker")
    client.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/local")
    assert client.describe_model(ModelName="m")["ModelName"] == "m"


def test_a_refusal_is_an_error_that_clients_do_not_repeat(served: Served) -> None:
    with pytest.raises(ClientError, match="serve --allow-mocked") as error:
        served.client("sagemaker").list_endpoints()
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    assert error.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_an_operation_that_no_botocore_knows_is_one_error(served: Served) -> None:
    status, text = ask(served, "CreateMiracle")
    assert status == 400
    assert "UnknownOperationException" in text
    assert "no operation CreateMiracle" in text


def test_motos_answers_are_there_for_those_who_want_them(tmp_path) -> None:
    with Served(tmp_path, "--allow-mocked") as server:
        assert server.client("sagemaker").list_endpoints()["Endpoints"] == []
