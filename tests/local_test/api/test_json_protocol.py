"""What goes over the wire, byte by byte, without boto3 in between."""

import errno
import json
import os
import re
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest

from local_test.api.dispatch import Api
from local_test.api.iam import simulate
from tests.support.served import Served, ended, request


def post(served: Served, operation: str, body: bytes) -> tuple[int, Any, str]:
    """(status, JSON, content type) of a request without a signature."""
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    asked = urllib.request.Request(served.exports["AWS_ENDPOINT_URL"], body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null"), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers["Content-Type"]


def test_times_are_epoch_numbers(served: Served, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("epochs"))
    description = ended(sagemaker, "epochs")
    status, answer, kind = post(served, "DescribeTrainingJob", b'{"TrainingJobName":"epochs"}')
    assert (status, kind) == (200, "application/x-amz-json-1.1")
    assert answer["CreationTime"] == pytest.approx(description["CreationTime"].timestamp(), abs=0.001)
    assert isinstance(answer["SecondaryStatusTransitions"][0]["StartTime"], float)
    assert "Tags" not in answer


@pytest.mark.parametrize(
    ("operation", "body", "kind", "message"),
    [
        ("DescribeTrainingJob", b'{"TrainingJobName":"none"}', "ValidationException", "Requested resource not found."),
        ("DescribeTrainingJob", b"{", "SerializationException", "The body is not JSON"),
        ("DescribeTrainingJob", b"[]", "SerializationException", "Received: list"),
        ("ListTrainingJobs", b'{"CreationTimeAfter":"now"}', "ValidationException", "'creationTimeAfter'"),
        (
            "StopTrainingJob",
            b"",
            "ValidationException",
            "1 validation error detected: Value null at 'trainingJobName' failed to satisfy constraint: "
            "Member must not be null",
        ),
    ],
)
def test_errors(served: Served, operation: str, body: bytes, kind: str, message: str) -> None:
    status, answer, _ = post(served, operation, body)
    assert status == 400
    assert answer["__type"] == kind
    assert message in answer["message"]


def test_a_bug_is_the_services_error_and_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(request: dict[str, Any]) -> None:
        raise KeyError("oh")

    answer = Api(lambda _: {"ListTrainingJobs": broken}).answer("ListTrainingJobs", b"{}", "us-east-1")
    assert answer
    assert answer.status == 500
    assert json.loads(answer.body)["__type"] == "InternalFailure"
    assert "KeyError: 'oh'" in capsys.readouterr().err


def test_every_principal_may_do_everything(served: Served) -> None:
    actions, resources = ["s3:GetObject", "sagemaker:CreateTrainingJob"], ["arn:aws:s3:::a", "arn:aws:s3:::b&c"]
    answer = served.client("iam").simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::123456789012:role/local", ActionNames=actions, ResourceArns=resources
    )
    found = [(item["EvalActionName"], item["EvalResourceName"]) for item in answer["EvaluationResults"]]
    assert found == [(action, name) for action in actions for name in resources]
    assert {item["EvalDecision"] for item in answer["EvaluationResults"]} == {"allowed"}
    assert simulate(b"Action=GetRole&RoleName=local") is None


def test_the_local_role_is_there_for_sdks(served: Served) -> None:
    role = served.client("iam").get_role(RoleName="local")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"MaxResults": NaN}', "NaN is no number"),
        (b'{"MaxResults": -Infinity}', "-Infinity is no number"),
        (b'{"NameContains": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'{"a":' * 100_000, "nested too deeply|not JSON"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "nested too deeply. Expected: at most 100 levels"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "must be a JSON object"),
    ],
)
def test_what_is_no_clients_json_is_a_clients_error(served: Served, body: bytes, why: str) -> None:
    for operation in ("CreateTrainingJob", "Search"):
        status, answer, _ = post(served, operation, body)
        assert (status, answer["__type"]) == (400, "SerializationException")
        assert re.search(why, answer["message"]), answer


def raw(served: Served, *parts: bytes) -> bytes:
    """The first line that is answered to these bytes."""
    host, _, port = served.exports["AWS_ENDPOINT_URL"].removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {host}:{port}\r\nX-Amz-Target: SageMaker.ListTrainingJobs\r\n"
        connection.sendall(head.encode() + b"".join(parts))
        return connection.makefile("rb").readline().strip()


def test_a_body_over_the_limit_is_refused_before_it_is_sent(served: Served) -> None:
    assert raw(served, b"Content-Length: 99999999999\r\n\r\n").split()[1] == b"413"


def test_chunks_without_a_size_are_a_clients_error(served: Served) -> None:
    assert raw(served, b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n").split()[1] == b"400"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_what_the_machine_refuses_is_one_line_and_no_bug(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(request: Any) -> Any:
        raise OSError(number, os.strerror(number), "describe.json")

    answer = Api(lambda _: {"ListTrainingJobs": fail}).answer("ListTrainingJobs", b"{}", "us-east-1")
    assert answer is not None
    said = f"The change can't be kept: {os.strerror(number)}. Received: ListTrainingJobs"
    assert (answer.status, json.loads(answer.body)) == (400, {"__type": "ValidationException", "message": said})
    assert capsys.readouterr().err == ""
