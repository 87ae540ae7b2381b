"""Lineage over the API: what was made of what."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import check_shape, refusal_of
from tests.support.served import Served

ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def artifact(sagemaker: Any, uri: str, kind: str = "DataSet", **members: Any) -> str:
    answer = sagemaker.create_artifact(Source={"SourceUri": uri}, ArtifactType=kind, **members)
    arn: str = check_shape("CreateArtifact", answer)["ArtifactArn"]
    return arn


def test_an_artifact_from_its_making_to_its_end(sagemaker: Any) -> None:
    arn = artifact(sagemaker, "s3://b/one", ArtifactName="one", Properties={"a": "1", "b": "2"})
    assert arn.startswith(f"{ARN}:artifact/")
    found = check_shape("DescribeArtifact", sagemaker.describe_artifact(ArtifactArn=arn))
    assert (found["ArtifactName"], found["ArtifactType"], found["Source"]["SourceUri"]) == (
        "one",
        "DataSet",
        "s3://b/one",
    )
    again = {"Source": {"SourceUri": "s3://b/one"}, "ArtifactType": "DataSet"}
    assert "already exists" in refusal_of(sagemaker.create_artifact, "ValidationException", **again)
    sagemaker.update_artifact(ArtifactArn=arn, ArtifactName="uno", Properties={"c": "3"}, PropertiesToRemove=["a", "x"])
    found = sagemaker.describe_artifact(ArtifactArn=arn)
    assert (found["ArtifactName"], found["Properties"]) == ("uno", {"b": "2", "c": "3"})
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    listed = check_shape("ListArtifacts", sagemaker.list_artifacts(SourceUri="s3://b/one"))["ArtifactSummaries"]
    assert [item["ArtifactArn"] for item in listed] == [arn]
    late = datetime(2100, 1, 1, tzinfo=UTC)
    assert sagemaker.list_artifacts(SourceUri="s3://b/one", CreatedAfter=late)["ArtifactSummaries"] == []
    assert sagemaker.list_artifacts(ArtifactType="Model", SourceUri="s3://b/one")["ArtifactSummaries"] == []
    assert sagemaker.delete_artifact(Source={"SourceUri": "s3://b/one"})["ArtifactArn"] == arn
    assert "does not exist" in refusal_of(sagemaker.describe_artifact, "ResourceNotFound", ArtifactArn=arn)
    assert "neither" in refusal_of(sagemaker.delete_artifact, "ValidationException")


def test_contexts_and_actions_have_names(sagemaker: Any) -> None:
    for what in ("context", "action"):
        title = what.capitalize()
        members = {f"{title}Name": f"a-{what}", f"{title}Type": "Kind", "Source": {"SourceUri": "s3://b"}}
        arn = getattr(sagemaker, f"create_{what}")(**members)[f"{title}Arn"]
        assert arn == f"{ARN}:{what}/a-{what}"
        assert "already exists" in refusal_of(getattr(sagemaker, f"create_{what}"), "ValidationException", **members)
        getattr(sagemaker, f"update_{what}")(**{f"{title}Name": f"a-{what}"}, Description="new")
        found = check_shape(f"Describe{title}", getattr(sagemaker, f"describe_{what}")(**{f"{title}Name": arn}))
        assert (found["Description"], found[f"{title}Type"]) == ("new", "Kind")
        listed = getattr(sagemaker, f"list_{what}s")(SortBy="Name", **{f"{title}Type": "Kind"})
        assert [item[f"{title}Arn"] for item in check_shape(f"List{title}s", listed)[f"{title}Summaries"]] == [arn]
        getattr(sagemaker, f"delete_{what}")(**{f"{title}Name": f"a-{what}"})
        assert getattr(sagemaker, f"list_{what}s")(**{f"{title}Type": "Kind"})[f"{title}Summaries"] == []


def test_associations_and_what_they_lead_to(sagemaker: Any) -> None:
    """data → component → model → context"""
    data, model = artifact(sagemaker, "s3://b/data"), artifact(sagemaker, "s3://b/model", "Model")
    component = sagemaker.create_trial_component(TrialComponentName="Trains")["TrialComponentArn"]
    context = sagemaker.create_context(ContextName="end", ContextType="Endpoint", Source={"SourceUri": "x"})[
        "ContextArn"
    ]
    chain = [data, component, model, context]
    for source, destination in pairwise(chain):
        sagemaker.add_association(SourceArn=source, DestinationArn=destination, AssociationType="ContributedTo")
    again = {"SourceArn": data, "DestinationArn": component}
    assert "already exists" in refusal_of(sagemaker.add_association, "ValidationException", **again)
    unknown = {"SourceArn": data, "DestinationArn": f"{ARN}:artifact/none"}
    assert "does not exist" in refusal_of(sagemaker.add_association, "ResourceNotFound", **unknown)

    (found,) = check_shape("ListAssociations", sagemaker.list_associations(SourceArn=data))["AssociationSummaries"]
    assert (found["SourceType"], found["DestinationName"]) == ("DataSet", "Trains")
    assert found["DestinationType"] == "SageMakerExperimentTrialComponent"
    assert sagemaker.list_associations(SourceArn=data, DestinationType="Model")["AssociationSummaries"] == []
    pages = sagemaker.get_paginator("list_associations").paginate(
        SortBy="DestinationArn", PaginationConfig={"PageSize": 1}
    )
    ends = [item["DestinationArn"] for page in pages for item in page["AssociationSummaries"]]
    assert ends == sorted(chain[1:], reverse=True)

    def query(**members: Any) -> list[str]:
        answer = check_shape("QueryLineage", sagemaker.query_lineage(StartArns=[component], **members))
        return sorted(vertex["Arn"] for vertex in answer["Vertices"])

    assert query() == sorted(chain)
    assert query(Direction="Ascendants") == sorted([data, component])
    assert query(Direction="Descendants", MaxDepth=1) == sorted([component, model])
    assert query(Filters={"LineageTypes": ["Artifact"]}) == sorted([data, model])
    assert query(Filters={"Types": ["Endpoint"]}) == [context]
    edges = sagemaker.query_lineage(StartArns=[model], Direction="Descendants")["Edges"]
    assert edges == [{"SourceArn": model, "DestinationArn": context, "AssociationType": "ContributedTo"}]
    assert "still has associations" in refusal_of(sagemaker.delete_artifact, "ValidationException", ArtifactArn=model)
    for source, destination in pairwise(chain):
        sagemaker.delete_association(SourceArn=source, DestinationArn=destination)
    assert "does not exist" in refusal_of(sagemaker.delete_association, "ResourceNotFound", **again)
    sagemaker.delete_artifact(ArtifactArn=model)
    assert query() == [component]


@pytest.mark.slow
def test_lineage_outlives_a_killed_server(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        sagemaker = first.client("sagemaker")
        ends = {
            "SourceArn": artifact(sagemaker, "s3://b/data"),
            "DestinationArn": sagemaker.create_trial_component(TrialComponentName="part")["TrialComponentArn"],
        }
        sagemaker.add_association(**ends)
        first.process.kill()
    with Served(tmp_path) as second:
        sagemaker = second.client("sagemaker")
        (found,) = sagemaker.list_associations(DestinationArn=ends["DestinationArn"])["AssociationSummaries"]
        assert found.items() >= ends.items()
        assert sagemaker.describe_artifact(ArtifactArn=ends["SourceArn"])["Source"]["SourceUri"] == "s3://b/data"
        second.end()
    (tmp_path / "root/experiments/associations.json").write_text("[{")
    with Served(tmp_path) as third:
        assert third.client("sagemaker").list_associations()["AssociationSummaries"] == []
        assert "associations.json" in third.end()
