"""Tags of jobs are ours, those of anything else moto's."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.served import ROLE, ended, request


def tag(key: str, value: str) -> dict[str, str]:
    return {"Key": key, "Value": value}


def test_tags_of_a_job(sagemaker: Any) -> None:
    arn = sagemaker.create_training_job(**request("Tagged", Tags=[tag("a", "1")]))["TrainingJobArn"]
    added = sagemaker.add_tags(ResourceArn=arn, Tags=[tag("b", "2"), tag("a", "3")])["Tags"]
    assert added == [tag("a", "3"), tag("b", "2")]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b", "unknown"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [tag("a", "3")]
    many = [tag(f"k{n:02d}", "") for n in range(49)]
    sagemaker.add_tags(ResourceArn=arn, Tags=many)
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn, PaginationConfig={"PageSize": 50})
    assert sorted(item["Key"] for page in pages for item in page["Tags"]) == ["a", *(item["Key"] for item in many)]
    with pytest.raises(ClientError, match="at most 50 tags"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[tag("one", "more")])
    ended(sagemaker, "Tagged")


def test_tags_of_a_job_that_is_not_there(sagemaker: Any) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/none"
    with pytest.raises(ClientError, match="Requested resource not found"):
        sagemaker.list_tags(ResourceArn=arn)


def test_tags_of_what_moto_keeps(sagemaker: Any) -> None:
    arn = sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Tags=[tag("m", "1")])["ModelArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[tag("n", "2")])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [tag("m", "1"), tag("n", "2")]
