"""Pipelines over the API: kept, listed, changed, refused; a restart of the server loses none."""

import json
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import check_shape, refusal_of
from tests.support.pipelines import DEFINITION, FAIL, ROLE, definition
from tests.support.served import BUCKET, Served, until

ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline"
LONG = ["A" * 255 + "b", "A" * 255 + "c", "A" * 255]  # a folder's name has at most 255 bytes


def create(sagemaker: Any, name: str, **members: Any) -> str:
    text = {} if "PipelineDefinitionS3Location" in members else {"PipelineDefinition": definition()}
    answer = sagemaker.create_pipeline(PipelineName=name, RoleArn=ROLE, **{**text, **members})
    arn: str = check_shape("CreatePipeline", answer)["PipelineArn"]
    return arn


def test_a_pipeline_from_its_making_to_its_end(sagemaker: Any) -> None:
    members = {"PipelineDescription": "of the lab", "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2}}
    arn = create(sagemaker, "The-Lab", Tags=[{"Key": "k", "Value": "v"}], **members)
    assert arn == f"{ARN}/The-Lab"  # the SDK's own tests look for the name as it was given
    assert sagemaker.describe_pipeline(PipelineName=arn.lower())["PipelineArn"] == arn
    found = check_shape("DescribePipeline", sagemaker.describe_pipeline(PipelineName="The-Lab"))
    assert json.loads(found["PipelineDefinition"]) == DEFINITION
    assert {name: found[name] for name in members} == members
    assert (found["PipelineDisplayName"], found["PipelineStatus"], found["RoleArn"]) == ("The-Lab", "Active", ROLE)
    assert sagemaker.describe_pipeline(PipelineName=arn)["PipelineName"] == "The-Lab"
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]

    again = {"PipelineName": "The-Lab", "RoleArn": ROLE, "PipelineDefinition": definition()}
    message = refusal_of(sagemaker.create_pipeline, "ValidationException", **again)
    assert message.endswith("Pipeline with name (The-Lab) already exists.")  # what the SDK's upsert looks for

    text = definition("Parameters.0.DefaultValue", 5)
    answer = sagemaker.update_pipeline(PipelineName="The-Lab", PipelineDefinition=text, PipelineDisplayName="Other")
    assert check_shape("UpdatePipeline", answer)["PipelineVersionId"] == 2
    found = sagemaker.describe_pipeline(PipelineName="The-Lab")
    assert (found["PipelineDefinition"], found["PipelineDisplayName"]) == (text, "Other")
    assert found["PipelineDescription"] == "of the lab"
    assert found["LastModifiedTime"] > found["CreationTime"]
    assert "LastRunTime" not in found

    only = json.dumps({"Steps": [FAIL]})
    sagemaker.update_pipeline(PipelineName="The-Lab", PipelineDefinition=only)
    execution = sagemaker.start_pipeline_execution(PipelineName="The-Lab")["PipelineExecutionArn"]
    until(
        lambda: (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)["PipelineExecutionStatus"] == "Failed"
        )
    )
    (summary,) = sagemaker.list_pipelines(PipelineNamePrefix="The-Lab")["PipelineSummaries"]
    assert summary["LastExecutionTime"] == sagemaker.describe_pipeline(PipelineName="The-Lab")["LastRunTime"]

    assert sagemaker.delete_pipeline(PipelineName="The-Lab")["PipelineArn"] == arn
    for call in (sagemaker.describe_pipeline, sagemaker.delete_pipeline, sagemaker.update_pipeline):
        assert "Pipeline 'The-Lab' does not exist" in refusal_of(call, "ResourceNotFound", PipelineName="The-Lab")


def test_versions(tmp_path: Path) -> None:
    """A definition that changes makes one, which executions can be started from; a kill loses none."""

    def text(message: str) -> str:
        return json.dumps({"Steps": [{**FAIL, "Arguments": {"ErrorMessage": message}}]})

    def run(**members: Any) -> tuple[str, str]:
        """(the ARN, which definition it had)"""
        arn = sagemaker.start_pipeline_execution(PipelineName="versions", **members)["PipelineExecutionArn"]
        describe = sagemaker.describe_pipeline_execution
        found = until(lambda: (one := describe(PipelineExecutionArn=arn)).get("FailureReason") and one)
        return arn, check_shape("DescribePipelineExecution", found)["FailureReason"]

    with Served(tmp_path) as server:
        sagemaker = server.client("sagemaker")
        name = {"PipelineName": "versions"}
        arn = create(sagemaker, "versions", PipelineDefinition=text("one"), PipelineVersionAliases=["first"])
        ids = [
            sagemaker.update_pipeline(**name, **members)["PipelineVersionId"]
            for members in (
                {"PipelineDefinition": text("one"), "PipelineDescription": "the same"},
                {"PipelineDefinition": text("two"), "PipelineVersionAliases": ["live"]},
                {"PipelineDefinition": text("three")},
            )
        ]
        assert ids == [1, 2, 3]
        old, message = run(PipelineVersionId=1)
        assert (message, run(PipelineVersionAlias="live")[1], run()[1]) == ("one", "two", "three")
        for members, expected in (
            ({"PipelineVersionAliases": ["x"]}, "is for an update that changes the pipeline's definition"),
            ({"PipelineDefinition": text("x"), "PipelineVersionAliases": ["live"]}, "Version 2 has the alias live"),
            ({"PipelineDefinition": text("x"), "PipelineVersionAliases": ["12"]}, "can't consist of numbers only"),
        ):
            assert expected in refusal_of(sagemaker.update_pipeline, "ValidationException", **name, **members)
        for number, operations in ((2, {"Remove": ["live"], "Add": ["old"]}), (3, {"Add": ["live"]})):
            changes = {"PipelineVersionAliasOperations": operations, "PipelineVersionDisplayName": f"v{number}"}
            answer = sagemaker.update_pipeline_version(PipelineArn=arn, PipelineVersionId=number, **changes)
            assert check_shape("UpdatePipelineVersion", answer)["PipelineVersionId"] == number
        server.end(signal.SIGKILL)
    with Served(tmp_path) as server:
        sagemaker = server.client("sagemaker")
        listed = check_shape("ListPipelineVersions", sagemaker.list_pipeline_versions(**name, MaxResults=2))
        found = [
            (one["PipelineVersionId"], one["PipelineVersionDisplayName"], one["PipelineVersionAliases"])
            for one in listed["PipelineVersionSummaries"]
        ]
        assert found == [(3, "v3", ["live"]), (2, "v2", ["old"])]
        more = sagemaker.list_pipeline_versions(**name, NextToken=listed["NextToken"])["PipelineVersionSummaries"]
        assert [one["LastExecutionPipelineExecutionArn"] for one in more] == [old]
        found = sagemaker.describe_pipeline(**name, PipelineVersionAlias="first")
        assert (found["PipelineDefinition"], found["PipelineDescription"]) == (text("one"), "the same")
        assert sagemaker.describe_pipeline(**name)["PipelineVersionDisplayName"] == "v3"
        found = sagemaker.describe_pipeline_execution(PipelineExecutionArn=old)
        assert (found["PipelineVersionId"], found["PipelineVersionAliases"]) == (1, ["first"])
        executions = sagemaker.list_pipeline_executions(**name, PipelineVersionAlias="first")
        assert [one["PipelineExecutionArn"] for one in executions["PipelineExecutionSummaries"]] == [old]
        both = {**name, "PipelineVersionId": 1, "PipelineVersionAlias": "old"}
        for call in (sagemaker.describe_pipeline, sagemaker.start_pipeline_execution):
            refusal_of(call, "ResourceNotFound", **name, PipelineVersionId=4)
            refusal_of(call, "ResourceNotFound", **name, PipelineVersionAlias="none")
            assert "not both" in refusal_of(call, "ValidationException", **both)


def test_a_request_that_is_sent_again_is_answered_as_the_first_time(sagemaker: Any) -> None:
    token = str(uuid.uuid4())
    assert create(sagemaker, "once", ClientRequestToken=token) == create(sagemaker, "once", ClientRequestToken=token)


def test_a_definition_in_s3(sagemaker: Any, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="pipelines/one.json", Body=definition().encode())
    place = {"Bucket": BUCKET, "ObjectKey": "pipelines/one.json"}
    create(sagemaker, "from-s3", PipelineDefinitionS3Location=place)
    assert sagemaker.describe_pipeline(PipelineName="from-s3")["PipelineDefinition"] == definition()
    for key, body, expected in [
        ("none.json", None, "It can't be read from S3"),
        ("half.json", b'{"Steps": "\xff"}', "It is no text in UTF-8"),
        ("large.json", b" " * (5 << 20), "characters. Expected: at most 1048576"),
    ]:
        if body is not None:
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        request = {"PipelineName": "x", "RoleArn": ROLE, "PipelineDefinitionS3Location": {**place, "ObjectKey": key}}
        message = refusal_of(sagemaker.create_pipeline, "ValidationException", **request)
        assert message.startswith("Unable to parse pipeline definition. "), message
        assert expected in message
    both = {"PipelineDefinition": definition(), "PipelineDefinitionS3Location": place}
    message = refusal_of(sagemaker.create_pipeline, "ValidationException", PipelineName="x", RoleArn=ROLE, **both)
    assert message == "Both Pipeline Definition and Pipeline Definition S3 Location shouldn't be present"
    message = refusal_of(sagemaker.create_pipeline, "ValidationException", PipelineName="x", RoleArn=ROLE)
    assert message == "Either Pipeline Definition or Pipeline Definition S3 location should be provided"


@pytest.mark.parametrize(
    ("path", "new", "expected"),
    [
        ("Steps.0.DependsOn", ["IsGood"], "Steps depend on each other in a cycle: "),
        ("Steps.0.Type", "Transform", "Step Train: The local platform runs no step of type Transform"),
        ("Steps.0.Arguments.RoleArn", "arn:aws:iam::123456789012:role/nobody", "Step Train: "),
        (
            "Steps.0.Arguments.OutputDataConfig.S3OutputPath",
            "file:///etc",
            "Step Train: OutputDataConfig.S3OutputPath: ",
        ),
    ],
)
def test_a_pipeline_that_cannot_run_is_refused_at_its_making(
    sagemaker: Any, path: str, new: Any, expected: str
) -> None:
    request = {"PipelineName": "never", "RoleArn": ROLE, "PipelineDefinition": definition(path, new)}
    message = refusal_of(sagemaker.create_pipeline, "ValidationException", **request)
    assert message.startswith(f"Unable to parse pipeline definition. {expected}"), message
    create(sagemaker, "good")
    refused = {"PipelineName": "good", "PipelineDefinition": definition(path, new)}
    refusal_of(sagemaker.update_pipeline, "ValidationException", **refused)
    assert sagemaker.describe_pipeline(PipelineName="good")["PipelineDefinition"] == definition()
    sagemaker.delete_pipeline(PipelineName="good")


def test_lists(sagemaker: Any) -> None:
    names = ["list-a", "list-c", "list-b"]
    for name in names:
        create(sagemaker, name)

    def listed(**members: Any) -> list[str]:
        answer = sagemaker.list_pipelines(PipelineNamePrefix="list", **members)
        return [item["PipelineName"] for item in check_shape("ListPipelines", answer)["PipelineSummaries"]]

    assert listed() == names[::-1]
    assert listed(SortBy="Name", SortOrder="Ascending") == sorted(names)
    assert listed(ManagedBy="AWS") == []
    first = sagemaker.describe_pipeline(PipelineName="list-a")["CreationTime"]
    assert listed(CreatedAfter=first, SortOrder="Ascending") == names[1:]
    pages = sagemaker.get_paginator("list_pipelines").paginate(
        PipelineNamePrefix="list", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    found = [[item["PipelineName"] for item in page["PipelineSummaries"]] for page in pages]
    assert found == [["list-a", "list-b"], ["list-c"]]


def test_a_restart_loses_none(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        create(server.client("sagemaker"), "kept", Tags=[{"Key": "k", "Value": "v"}])
        create(server.client("sagemaker", region="eu-west-1"), "kept")
        for name in LONG:
            create(server.client("sagemaker"), name)
        server.client("sagemaker").update_pipeline(PipelineName=LONG[0], PipelineDescription="changed")
        server.client("sagemaker").delete_pipeline(PipelineName=LONG[1])
        before = server.client("sagemaker").describe_pipeline(PipelineName="kept")
        server.end(signal.SIGKILL)
    with Served(tmp_path) as server:
        after = server.client("sagemaker").describe_pipeline(PipelineName="kept")
        assert {**after, "ResponseMetadata": 0} == {**before, "ResponseMetadata": 0}
        assert server.client("sagemaker").list_tags(ResourceArn=after["PipelineArn"])["Tags"]
        listed = server.client("sagemaker").list_pipelines(SortBy="Name", SortOrder="Ascending")["PipelineSummaries"]
        found = [(item["PipelineName"], item.get("PipelineDescription")) for item in listed]
        assert found == [(LONG[2], None), (LONG[0], "changed"), ("kept", None)]
        elsewhere = server.client("sagemaker", region="eu-west-1")
        assert elsewhere.describe_pipeline(PipelineName="kept")["PipelineArn"].split(":")[3] == "eu-west-1"
