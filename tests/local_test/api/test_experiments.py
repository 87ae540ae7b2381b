"""Experiments as boto3 sees them; every answer is held against the model's output shape."""

import math
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_test.request.validation import _check, service_model
from tests.support.api import check_shape, refusal_of
from tests.support.served import BUCKET, WAIT, Served, ended, printed, request, until

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
DEFINITIONS = [{"Name": "validation:accuracy", "Regex": "accuracy=([0-9.]+)"}]


def job(name: str, code: str = "", **members: Any) -> dict[str, Any]:
    wanted = request(name, code, **members)
    wanted["AlgorithmSpecification"]["MetricDefinitions"] = DEFINITIONS
    return wanted


def names(response: dict[str, Any], kind: str) -> list[str]:
    return [item[f"{kind}Name"] for item in response[f"{kind}Summaries"]]


def test_a_job_of_an_experiment_is_described_by_a_component_of_its_trial(sagemaker: Any) -> None:
    created = check_shape(
        "CreateExperiment", sagemaker.create_experiment(ExperimentName="Cifar", Description="all of it")
    )
    assert created["ExperimentArn"] == f"{ARN}:experiment/cifar"
    assert check_shape("CreateTrial", sagemaker.create_trial(TrialName="First", ExperimentName="cifar"))["TrialArn"]
    code = "for a in (0.25, 0.75, 0.5): print(f'accuracy={a}', flush=True)\n(BASE / 'model/m').write_text('m')\n"
    config = {
        "ExperimentName": "Cifar",
        "TrialName": "First",
        "TrialComponentDisplayName": "Training",
        "RunName": "r-1",
    }
    wanted = job("Tracked-1", code, ExperimentConfig=config)
    wanted["HyperParameters"] = {"epochs": "3", "optimizer": "adam", "_quoted": '"x"'}
    arn = sagemaker.create_training_job(**wanted)["TrainingJobArn"]
    assert ended(sagemaker, "Tracked-1")["ExperimentConfig"] == config
    described = sagemaker.describe_trial_component(TrialComponentName="Tracked-1-aws-training-job")
    component = check_shape("DescribeTrialComponent", described)
    assert component["DisplayName"] == "Training"
    assert component["TrialComponentArn"] == f"{ARN}:experiment-trial-component/tracked-1-aws-training-job"
    assert component["Source"] == {"SourceArn": arn, "SourceType": "SageMakerTrainingJob"}
    assert component["Status"] == {
        "PrimaryStatus": "Completed",
        "Message": "Status: Completed, secondary status: Completed, failure reason: .",
    }
    assert component["StartTime"] <= component["EndTime"]
    assert component["Parameters"] == {
        "SageMaker.ImageUri": {"StringValue": "image"},
        "SageMaker.InstanceCount": {"NumberValue": 1.0},
        "SageMaker.InstanceType": {"StringValue": wanted["ResourceConfig"]["InstanceType"]},
        "SageMaker.VolumeSizeInGB": {"NumberValue": 1.0},
        "epochs": {"NumberValue": 3.0},
        "optimizer": {"StringValue": "adam"},
        "_quoted": {"StringValue": '"x"'},
    }
    assert component["InputArtifacts"]["SageMaker.ImageUri"]["Value"] == "image"
    model = component["OutputArtifacts"]["SageMaker.ModelArtifact"]["Value"]
    assert model == f"s3://{BUCKET}/out/Tracked-1/output/model.tar.gz"
    (metric,) = component["Metrics"]
    assert metric["MetricName"] == "validation:accuracy"
    assert (metric["Min"], metric["Max"], metric["Last"], metric["Count"], metric["Avg"]) == (0.25, 0.75, 0.5, 3, 0.5)
    assert metric["StdDev"] == pytest.approx(math.sqrt(0.125 / 3))
    by_source = check_shape("ListTrialComponents", sagemaker.list_trial_components(SourceArn=arn.lower()))
    assert names(by_source, "TrialComponent") == ["Tracked-1-aws-training-job"]
    assert by_source["TrialComponentSummaries"][0]["TrialComponentSource"]["SourceArn"] == arn
    for asked in ({"ExperimentName": "Cifar"}, {"TrialName": "First"}):
        assert names(sagemaker.list_trial_components(**asked), "TrialComponent") == ["Tracked-1-aws-training-job"]
    trials = check_shape("ListTrials", sagemaker.list_trials(TrialComponentName="Tracked-1-aws-training-job"))
    assert names(trials, "Trial") == ["First"]
    found = sagemaker.search(
        Resource="ExperimentTrialComponent",
        SearchExpression={"Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "Cifar"}]},
    )
    (entity,) = [item["TrialComponent"] for item in check_shape("Search", found)["Results"]]
    assert entity["Parents"] == [{"TrialName": "First", "ExperimentName": "Cifar"}]
    assert entity["Metrics"][0]["Last"] == 0.5


def test_every_job_has_a_component_and_what_it_is_while_it_runs(served: Served, sagemaker: Any) -> None:
    sagemaker.create_training_job(**job("tracked-2", f"print('accuracy=0.5', flush=True)\n{WAIT}"))
    printed(served, "tracked-2", "ready")
    name = "tracked-2-aws-training-job"
    until(lambda: sagemaker.describe_trial_component(TrialComponentName=name)["Metrics"])
    component = sagemaker.describe_trial_component(TrialComponentName=name)
    assert component["Status"]["PrimaryStatus"] == "InProgress"
    assert "EndTime" not in component
    sagemaker.stop_training_job(TrainingJobName="tracked-2")
    ended(sagemaker, "tracked-2")
    until(lambda: state_of(sagemaker, name)["PrimaryStatus"] == "Stopped")
    assert sagemaker.list_trials(TrialComponentName=name)["TrialSummaries"] == []
    failing = job("tracked-3", "sys.exit(3)")
    sagemaker.create_training_job(**failing)
    ended(sagemaker, "tracked-3")
    until(lambda: state_of(sagemaker, "tracked-3-aws-training-job")["PrimaryStatus"] == "Failed")
    assert "AlgorithmError: , exit code: 3" in state_of(sagemaker, "tracked-3-aws-training-job")["Message"]


def state_of(sagemaker: Any, component: str) -> dict[str, Any]:
    """It follows the job's own state a moment later."""
    status: dict[str, Any] = sagemaker.describe_trial_component(TrialComponentName=component)["Status"]
    return status


def test_a_job_made_anew_has_a_component_made_anew(sagemaker: Any) -> None:
    for value in ("0.1", "0.9"):
        sagemaker.create_training_job(**job("tracked-4", f"print('accuracy={value}')"))
        ended(sagemaker, "tracked-4")
        sagemaker.delete_training_job(TrainingJobName="tracked-4")
    (metric,) = sagemaker.describe_trial_component(TrialComponentName="tracked-4-aws-training-job")["Metrics"]
    assert (metric["Count"], metric["Last"]) == (1, 0.9)


def test_a_trial_is_made_where_only_the_experiment_is_named(sagemaker: Any) -> None:
    sagemaker.create_experiment(ExperimentName="alone")
    sagemaker.create_training_job(**job("tracked-5", ExperimentConfig={"ExperimentName": "alone"}))
    ended(sagemaker, "tracked-5")
    (trial,) = sagemaker.list_trials(ExperimentName="alone")["TrialSummaries"]
    listed = sagemaker.list_trial_components(TrialName=trial["TrialName"])
    assert names(listed, "TrialComponent") == ["tracked-5-aws-training-job"]


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        ({"ExperimentName": "none"}, "ResourceNotFound", "Experiment 'none' does not exist."),
        ({"ExperimentName": "there", "TrialName": "none"}, "ResourceNotFound", "Trial 'none' does not exist."),
        ({"ExperimentName": "there", "TrialName": "elsewhere"}, "ValidationException", "Expected: other"),
        ({"TrialName": "elsewhere"}, "ValidationException", "needs ExperimentConfig.ExperimentName"),
    ],
)
def test_a_job_of_an_experiment_that_is_not_there(
    sagemaker: Any, config: dict[str, str], code: str, message: str
) -> None:
    existing = {item["ExperimentName"] for item in sagemaker.list_experiments(MaxResults=100)["ExperimentSummaries"]}
    if "there" not in existing:
        sagemaker.create_experiment(ExperimentName="there")
        sagemaker.create_experiment(ExperimentName="other")
        sagemaker.create_trial(TrialName="elsewhere", ExperimentName="other")
    assert message in refusal_of(sagemaker.create_training_job, code, **job("untracked", ExperimentConfig=config))


def test_what_a_client_makes_itself(sagemaker: Any) -> None:
    sagemaker.create_experiment(ExperimentName="Own", Tags=[{"Key": "a", "Value": "1"}])
    sagemaker.create_trial(TrialName="own-trial", ExperimentName="Own", MetadataProperties={"CommitId": "abc"})
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    arn = sagemaker.create_trial_component(
        TrialComponentName="own-part", StartTime=start, Parameters={"a": {"NumberValue": 1}, "b": {"StringValue": "x"}}
    )["TrialComponentArn"]
    both = sagemaker.associate_trial_component(TrialComponentName="own-part", TrialName="own-trial")
    assert check_shape("AssociateTrialComponent", both)["TrialComponentArn"] == arn
    check_shape(
        "UpdateTrialComponent",
        sagemaker.update_trial_component(
            TrialComponentName="own-part", DisplayName="Part", Status={"PrimaryStatus": "Completed"}, EndTime=start,
            Parameters={"c": {"NumberValue": 3}}, ParametersToRemove=["a", "unknown"],
            OutputArtifacts={"plot": {"Value": "s3://b/k", "MediaType": "image/png"}},
        ),
    )  # fmt: skip
    component = check_shape("DescribeTrialComponent", sagemaker.describe_trial_component(TrialComponentName=arn))
    assert component["Parameters"] == {"b": {"StringValue": "x"}, "c": {"NumberValue": 3}}
    assert (component["StartTime"], component["EndTime"], component["DisplayName"]) == (start, start, "Part")
    assert component["OutputArtifacts"]["plot"]["MediaType"] == "image/png"
    trial = check_shape("DescribeTrial", sagemaker.describe_trial(TrialName="own-trial"))
    assert (trial["ExperimentName"], trial["MetadataProperties"]) == ("Own", {"CommitId": "abc"})
    check_shape("UpdateTrial", sagemaker.update_trial(TrialName="own-trial", DisplayName="Mine"))
    check_shape("UpdateExperiment", sagemaker.update_experiment(ExperimentName="own", Description="of mine"))
    described = check_shape("DescribeExperiment", sagemaker.describe_experiment(ExperimentName="Own"))
    assert (described["ExperimentName"], described["Description"]) == ("Own", "of mine")
    tagged = described["ExperimentArn"]
    sagemaker.add_tags(ResourceArn=tagged, Tags=[{"Key": "b", "Value": "2"}])
    assert [tag["Key"] for tag in sagemaker.list_tags(ResourceArn=tagged)["Tags"]] == ["a", "b"]
    assert "already exists" in refusal_of(sagemaker.create_experiment, "ValidationException", ExperimentName="OWN")
    assert "own-trial" in refusal_of(sagemaker.delete_experiment, "ValidationException", ExperimentName="Own")
    assert "own-part" in refusal_of(sagemaker.delete_trial, "ValidationException", TrialName="own-trial")
    part = {"TrialComponentName": "own-part"}
    assert "own-trial" in refusal_of(sagemaker.delete_trial_component, "ValidationException", **part)
    asked = {"TrialName": "own-trial", "ExperimentName": "Own"}
    assert "one of these" in refusal_of(sagemaker.list_trial_components, "ValidationException", **asked)
    sagemaker.disassociate_trial_component(TrialComponentName="own-part", TrialName="own-trial")
    again = {"TrialComponentName": "own-part", "TrialName": "own-trial"}
    assert "not associated" in refusal_of(sagemaker.disassociate_trial_component, "ResourceNotFound", **again)
    check_shape("DeleteTrialComponent", sagemaker.delete_trial_component(TrialComponentName="own-part"))
    check_shape("DeleteTrial", sagemaker.delete_trial(TrialName="own-trial"))
    check_shape("DeleteExperiment", sagemaker.delete_experiment(ExperimentName="Own"))
    assert "does not exist" in refusal_of(sagemaker.describe_trial, "ResourceNotFound", TrialName="own-trial")


def test_lists_are_paged_the_newest_first(sagemaker: Any) -> None:
    for n in range(5):
        sagemaker.create_trial_component(TrialComponentName=f"paged-{n}")
    pages = sagemaker.get_paginator("list_trial_components").paginate(PaginationConfig={"PageSize": 2})
    found = [name for page in pages for name in names(page, "TrialComponent")]
    mine = [name for name in found if name.startswith("paged-")]
    assert mine == [f"paged-{n}" for n in (4, 3, 2, 1, 0)]
    assert len(found) == len(set(found))
    times = {"CreatedAfter": datetime(2100, 1, 1, tzinfo=UTC)}
    for call in (sagemaker.list_experiments, sagemaker.list_trials, sagemaker.list_trial_components):
        assert [item for key, item in call(**times).items() if key.endswith("Summaries")] == [[]]
    first = sagemaker.list_trial_components(SortBy="Name", SortOrder="Ascending", MaxResults=1)
    assert names(first, "TrialComponent") == [min(found)]


def test_metrics_put_and_got(served: Served, sagemaker: Any) -> None:
    metrics = served.client("sagemaker-metrics")
    sagemaker.create_trial_component(TrialComponentName="measured")
    arn = f"{ARN}:experiment-trial-component/measured"
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    data = [
        {"MetricName": "loss", "Timestamp": start + 30 * n, "Step": n // 2, "Value": float(n)} for n in range(4)
    ]  # fmt: skip
    assert metrics.batch_put_metrics(TrialComponentName="measured", MetricData=data)["Errors"] == []
    (summary,) = sagemaker.describe_trial_component(TrialComponentName="measured")["Metrics"]
    assert (summary["Last"], summary["Count"], summary["SourceArn"]) == (3.0, 4, arn)

    def got(statistic: str, axis: str, period: str, **members: Any) -> tuple[list[int], list[float]]:
        query = {"MetricName": "loss", "ResourceArn": arn, "MetricStat": statistic, "Period": period, "XAxisType": axis}
        answer = metrics.batch_get_metrics(MetricQueries=[{**query, **members}])
        (result,) = answer["MetricQueryResults"]
        assert list(_check(answer["MetricQueryResults"][0], shape(), "")) == []
        assert result["Status"] == "Complete"
        return result["XAxisValues"], result["MetricValues"]

    assert got("Last", "IterationNumber", "IterationNumber") == ([0, 1], [1.0, 3.0])
    assert got("Avg", "Timestamp", "OneMinute") == ([int(start), int(start) + 60], [0.5, 2.5])
    assert got("Count", "Timestamp", "OneHour") == ([int(start)], [4.0])
    assert got("StdDev", "IterationNumber", "IterationNumber", Start=1) == ([1], [0.5])
    assert got("Max", "IterationNumber", "IterationNumber", End=0) == ([0], [1.0])
    unknown = {"TrialComponentName": "none", "MetricData": data[:1]}
    assert metrics.batch_put_metrics(**unknown)["Errors"] == [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]


def shape() -> Any:
    return service_model("sagemaker-metrics").shape_for("MetricQueryResult")


def test_search_over_jobs_and_their_pages(sagemaker: Any) -> None:
    for n in range(3):
        wanted = job(f"sought-{n}", f"print('accuracy=0.{n}')", Tags=[{"Key": "sought", "Value": str(n)}])
        wanted["HyperParameters"] = {"batch-size": str(64 << n)}
        sagemaker.create_training_job(**wanted)
        ended(sagemaker, f"sought-{n}")

    def sought(*filters: tuple[str, str, str], **members: Any) -> list[str]:
        conditions = [{"Name": name, "Operator": operator, "Value": value} for name, operator, value in filters]
        mine = {"Name": "TrainingJobName", "Operator": "Contains", "Value": "sought-"}
        expression = {"Filters": [mine, *conditions]}
        pages = sagemaker.get_paginator("search").paginate(
            Resource="TrainingJob", SearchExpression=expression, PaginationConfig={"PageSize": 1}, **members
        )
        return [
            item["TrainingJob"]["TrainingJobName"] for page in pages for item in check_shape("Search", page)["Results"]
        ]

    assert sought() == ["sought-2", "sought-1", "sought-0"]
    assert sought(SortBy="Metrics.validation:accuracy", SortOrder="Ascending") == ["sought-0", "sought-1", "sought-2"]
    assert sought(("Metrics.validation:accuracy", "GreaterThan", "0.05")) == ["sought-2", "sought-1"]
    assert sought(("HyperParameters.batch-size", "Equals", "64")) == ["sought-0"]
    assert sought(("Tags.sought", "Equals", "1")) == ["sought-1"]
    assert sought(("Tags.sought", "NotEquals", "1")) == ["sought-2", "sought-0"]
    assert sought(("TrainingJobStatus", "Equals", "Failed")) == []
    assert sought(("CreationTime", "LessThan", "2020-01-01T00:00:00Z")) == []
    assert "is for numbers" in refusal_of(
        sagemaker.search,
        "ValidationException",
        Resource="TrainingJob",
        SearchExpression={"Filters": [{"Name": "TrainingJobStatus", "Operator": "GreaterThan", "Value": "a"}]},
    )
    unknown = {"Filters": [{"Name": "TrainingJobState", "Operator": "Exists"}]}
    for members in ({"SearchExpression": unknown}, {"SortBy": "TrainingJobState"}):
        why = refusal_of(sagemaker.search, "ValidationException", Resource="TrainingJob", **members)
        assert why.startswith("Unknown property name: TrainingJobState")


def test_experiments_outlive_a_killed_server(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = first.client("sagemaker")
        sagemaker.create_experiment(ExperimentName="kept")
        config = {"ExperimentName": "kept"}
        sagemaker.create_training_job(
            **job("kept", f"print('accuracy=0.5', flush=True)\n{WAIT}", ExperimentConfig=config)
        )
        printed(first, "kept", "ready")
        name = "kept-aws-training-job"
        until(lambda: sagemaker.describe_trial_component(TrialComponentName=name)["Metrics"])
        first.end(signal.SIGKILL)
    with (first.root / f"experiments/trial-component/{name}/metrics.jsonl").open("a") as file:
        file.write('["validation:acc')  # a line that was cut off
    with Served(tmp_path) as second:
        sagemaker = second.client("sagemaker")
        component = sagemaker.describe_trial_component(TrialComponentName=name)
        assert component["Status"]["PrimaryStatus"] == "Failed"
        assert [metric["Last"] for metric in component["Metrics"]] == [0.5]
        trial = sagemaker.list_trials(ExperimentName="kept")["TrialSummaries"][0]["TrialName"]
        assert names(sagemaker.list_trial_components(TrialName=trial), "TrialComponent") == [name]
        second.client("sagemaker-metrics").batch_put_metrics(
            TrialComponentName=name, MetricData=[{"MetricName": "m", "Timestamp": 0, "Value": 1.0}]
        )
        assert len(sagemaker.describe_trial_component(TrialComponentName=name)["Metrics"]) == 2
        assert "Traceback" not in second.end()
