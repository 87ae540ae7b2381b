"""What moto stores of SageMaker is there again after the server was killed; a cut-off or damaged line costs itself."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.served import ROLE, Served

GROUP = "group"
LEFT_OUT: dict[str, Any] = {  # of moto's description of a package
    "ModelCard": {"ModelCardContent": "{}", "ModelCardStatus": "Draft"},
    "ModelLifeCycle": {"Stage": "Development", "StageStatus": "PendingApproval"},
    "SkipModelValidation": "All",
    "SourceUri": "s3://b/source",
}


def package(sagemaker: Any, url: str, **members: Any) -> str:
    specification = {
        "Containers": [{"Image": "image", "ModelDataUrl": url}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    answer = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP, InferenceSpecification=specification, **members
    )
    return str(answer["ModelPackageArn"])


def test_the_registry_outlives_a_kill(tmp_path: Path) -> None:
    token = "t" * 36
    with Served(tmp_path) as first:
        sagemaker, europe = first.client("sagemaker"), first.client("sagemaker", "eu-west-1")
        isolated = {"EnableNetworkIsolation": True}
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "image"}, **isolated)
        sagemaker.create_model(ModelName="gone", ExecutionRoleArn=ROLE)
        sagemaker.delete_model(ModelName="gone")
        europe.create_model(ModelName="europe", ExecutionRoleArn=ROLE)
        sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
        arn = package(sagemaker, "s3://b/one", ClientToken=token, **LEFT_OUT)
        assert package(sagemaker, "s3://b/one", ClientToken=token) == arn  # sent again
        other = package(sagemaker, "s3://b/two")
        stage = {"Stage": "Production", "StageStatus": "Approved"}
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ModelLifeCycle=stage)
        with pytest.raises(sagemaker.exceptions.ClientError):  # what is refused is not kept
            sagemaker.create_model_package(ModelPackageGroupName="none")
        before = sagemaker.describe_model_package(ModelPackageName=arn)
        first.end(signal.SIGKILL)
    kept = first.root / "stored.jsonl"
    lines = kept.read_text().splitlines()
    assert len(lines) == 8
    kept.write_text(
        "\n".join([*lines[:1], "damaged", lines[1].replace('"Time": "2', '"Time": "x'), *lines[1:], '{"cut'])[:-1]
    )
    with Served(tmp_path) as second:
        sagemaker, europe = second.client("sagemaker"), second.client("sagemaker", "eu-west-1")
        assert [item["ModelName"] for item in sagemaker.list_models()["Models"]] == ["m"]
        assert [item["ModelName"] for item in europe.list_models()["Models"]] == ["europe"]
        after = sagemaker.describe_model_package(ModelPackageName=arn)
        assert after["ModelApprovalStatus"] == "Approved"
        for found in (before, after):
            assert {name: found[name] for name in LEFT_OUT} == {**LEFT_OUT, "ModelLifeCycle": stage}
        assert sagemaker.describe_model(ModelName="m")["EnableNetworkIsolation"] is True
        assert "ModelLifeCycle" not in sagemaker.describe_model_package(ModelPackageName=other)
        assert abs((after["CreationTime"] - before["CreationTime"]).total_seconds()) < 1
        assert package(sagemaker, "s3://b/one", ClientToken=token) == arn
        assert package(sagemaker, "s3://b/three").endswith("/3")
        assert other.endswith("/2")
        said = second.end()
    assert said.count("can't be read, so it is left out") == 2
    assert "Traceback" not in said
    with Served(tmp_path) as third:
        packages = third.client("sagemaker").list_model_packages(ModelPackageGroupName=GROUP)
        assert len(packages["ModelPackageSummaryList"]) == 3
