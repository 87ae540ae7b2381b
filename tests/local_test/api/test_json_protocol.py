"""What goes over the wire, byte by byte, without boto3 in between."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from local_test.api.dispatch import Api
from local_test.api.iam import simulate
from tests.support.served import Served, ended, request

pytestmark = pytest.mark.timeout(60)


def post(served: Served, operation: str, body: bytes) -> tuple[int, Any, str]:
    """(status, JSON, content type) of a request without a signature."""
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    asked = urllib.request.Request(served.exports["AWS_ENDPOINT_URL"], body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=20) as answer:
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
    def broken(request: dict[str, Any], region: str) -> None:
        raise KeyError("oh")

    answer = Api({"ListTrainingJobs": broken}).answer("ListTrainingJobs", b"{}", "us-east-1")
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
