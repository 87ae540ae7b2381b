"""Which of moto's services are open: none that runs code on this machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import moto
import pytest
from botocore.exceptions import ClientError
from moto.backends import list_of_moto_modules

from local_test.server.mocked_services import REFUSED
from tests.support.served import ROLE, Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("batch", "describe_job_queues"), ("lambda", "list_functions"), ("codebuild", "list_projects"),
        ("stepfunctions", "list_state_machines"), ("cloudformation", "list_stacks"),
        ("codepipeline", "list_pipelines"), ("servicecatalog", "list_portfolios"),
    ],
)  # fmt: skip
def test_a_service_that_runs_code_is_refused_by_name(served: Served, service: str, operation: str) -> None:
    refused = r"AccessDenied.*does not offer \w+: it would run code on this machine"
    with pytest.raises(ClientError, match=refused) as error:
        getattr(served.client(service), operation)()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_schedule_that_would_begin_nothing_is_refused(served: Served) -> None:
    """As SDK v2's Pipeline.put_triggers makes one."""
    target = {"Arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p", "RoleArn": ROLE}
    with pytest.raises(ClientError, match="does not offer events: no event comes here"):
        served.client("events").put_rule(Name="nightly", ScheduleExpression="rate(1 day)")
    with pytest.raises(ClientError, match="does not offer scheduler: no schedule would begin anything"):
        served.client("scheduler").create_schedule(
            Name="daily", ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target
        )


def test_services_that_only_store_are_open(served: Served) -> None:
    assert served.client("secretsmanager").list_secrets()["SecretList"] == []
    assert served.client("ssm").describe_parameters()["Parameters"] == []
    assert served.client("sns").list_topics()["Topics"] == []


def test_all_of_motos_services_that_start_containers_are_refused() -> None:
    """Held against the installed moto: a new one must be looked at."""
    root = Path(moto.__file__).parent
    starting = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if re.search(r"docker_utilities|^\s*(import|from) docker\b", path.read_text(), flags=re.MULTILINE)
    }
    assert starting - {"utilities"} <= REFUSED.keys()
    assert set(list_of_moto_modules()) >= REFUSED.keys()


@pytest.mark.parametrize(
    ("service", "operation", "members"),
    [
        ("iam", "change_password", {"OldPassword": "a", "NewPassword": "b"}),
        ("ecr", "describe_pull_through_cache_rules", {}),
        ("logs", "delete_account_policy", {"policyName": "p", "policyType": "DATA_PROTECTION_POLICY"}),
        ("cloudwatch", "delete_metric_stream", {"Name": "n"}),
    ],
)
def test_what_moto_lacks_is_an_error_that_is_not_tried_again(
    served: Served, service: str, operation: str, members: dict[str, str]
) -> None:
    with pytest.raises(ClientError, match="action has not been implemented") as error:
        getattr(served.client(service), operation)(**members)
    answered = error.value.response["ResponseMetadata"]
    assert (answered["HTTPStatusCode"], answered["RetryAttempts"]) == (400, 0)
    assert error.value.response["Error"]["Code"].startswith("UnknownOperation")


def test_what_moto_fails_at_is_an_error_that_is_not_tried_again(served: Served) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/group/1"
    with pytest.raises(ClientError, match="moto, which answers for sagemaker here, fails at this request") as error:
        served.client("sagemaker").list_tags(ResourceArn=arn)
    answered = error.value.response["ResponseMetadata"]
    assert (answered["HTTPStatusCode"], answered["RetryAttempts"]) == (400, 0)
    with pytest.raises(ClientError, match="Could not find model"):  # an error of moto's own is what it was
        served.client("sagemaker").describe_model(ModelName="none")
