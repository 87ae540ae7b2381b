"""What a request over the API may not name: files of this machine, roles that SageMaker could not assume."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import refusal_of
from tests.support.served import BUCKET, ROLE, Served, ended, request
from tests.support.tuning import definition, tuning_request

AWS_ROLE = "arn:aws:iam::999999999999:role/service-role/SageMakerExecution"
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]},
    "Action": ["sts:AssumeRole"],
}


def channels(uri: str) -> dict[str, Any]:
    return {"InputDataConfig": request("any", "", {"train": uri})["InputDataConfig"]}


@pytest.mark.parametrize(
    ("members", "path"),
    [
        (channels("file:///etc"), "InputDataConfig[].DataSource.S3DataSource.S3Uri"),
        ({"OutputDataConfig": {"S3OutputPath": "file:///tmp/x"}}, "OutputDataConfig.S3OutputPath"),
        ({"CheckpointConfig": {"S3Uri": "file:///tmp/x"}}, "CheckpointConfig.S3Uri"),
        ({"TensorBoardOutputConfig": {"S3OutputPath": "file:///tmp/x"}}, "TensorBoardOutputConfig.S3OutputPath"),
    ],
)  # fmt: skip
def test_files_of_this_machine_are_refused(served: Served, sagemaker: Any, members: dict[str, Any], path: str) -> None:
    message = refusal_of(sagemaker.create_training_job, "ValidationException", **{**request("files"), **members})
    assert message.startswith(f"{path}: A request over the API may not name this machine's files. Received: file:///")
    assert message.endswith("or start serve with --allow-files")
    assert not (served.root / "training/files").exists()
    if "TensorBoardOutputConfig" not in members:  # tuning jobs have none
        tuning = {**tuning_request(), "TrainingJobDefinition": definition(**members)}
        said = refusal_of(sagemaker.create_hyper_parameter_tuning_job, "ValidationException", **tuning)
        assert said.startswith(f"TrainingJobDefinition.{path}: ")


@pytest.mark.parametrize("prefix", ["file:///etc/", "file://"])
def test_nor_can_a_manifest_name_them(sagemaker: Any, s3: Any, prefix: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="manifest", Body=json.dumps([{"prefix": prefix}, "/etc/hostname"]).encode())
    inputs = channels(f"s3://{BUCKET}/manifest")
    inputs["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    assert "file://" in refusal_of(sagemaker.create_training_job, "ValidationException", **request("m", **inputs))


def test_the_programs_own_settings_are_no_addresses(sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("own", HyperParameters={"S3Uri": "file:///opt/ml/code", "RoleArn": "x"}))
    assert ended(sagemaker, "own")["TrainingJobStatus"] == "Completed"


def test_a_role_must_be_there_and_trust_sagemaker(served: Served, sagemaker: Any) -> None:
    iam = served.client("iam")

    def role(name: str, **statement: Any) -> str:
        policy = {"Version": "2012-10-17", "Statement": [{**TRUST, **statement}]}
        return iam.create_role(RoleName=name, Path="/service-role/", AssumeRolePolicyDocument=json.dumps(policy))[
            "Role"
        ]["Arn"]

    good = role("good")
    lambda_only = role("lambda-only", Principal={"Service": "lambda.amazonaws.com"})
    bad = (
        "arn:aws:iam::123456789012:role/nobody", AWS_ROLE, good.replace("service-role/", ""), lambda_only,
        role("denied", Effect="Deny"), role("other", Action="sts:TagSession"),
    )  # fmt: skip
    for arn in bad:
        said = refusal_of(sagemaker.create_training_job, "ValidationException", **request("role", RoleArn=arn))
        assert said.startswith(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )
    tuning = {**tuning_request(), "TrainingJobDefinition": definition(RoleArn=lambda_only)}
    assert "Could not assume role" in refusal_of(
        sagemaker.create_hyper_parameter_tuning_job, "ValidationException", **tuning
    )
    for number, arn in enumerate((good, ROLE)):
        sagemaker.create_training_job(**request(f"role-{number}", RoleArn=arn))
        assert ended(sagemaker, f"role-{number}")["TrainingJobStatus"] == "Completed"


def test_roles_can_be_given_aws_own_policies(served: Served) -> None:
    iam = served.client("iam")
    policy = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    iam.attach_role_policy(RoleName="local", PolicyArn=policy)
    attached = iam.list_attached_role_policies(RoleName="local")["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonSageMakerFullAccess", "PolicyArn": policy}]


def test_flags_allow_both(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_text("content")
    code = "(BASE / 'model/m').write_text((BASE / 'input/data/train_0').read_text())"
    with Served(tmp_path, "--allow-files", "--any-role") as served:
        sagemaker = served.client("sagemaker")
        wanted = request("free", code, {"train": f"file://{tmp_path}/data"}, RoleArn=AWS_ROLE)
        wanted["OutputDataConfig"]["S3OutputPath"] = f"file://{tmp_path}/out"
        sagemaker.create_training_job(**wanted)
        assert ended(sagemaker, "free")["TrainingJobStatus"] == "Completed"
    assert (tmp_path / "out/free/output/model.tar.gz").exists()
