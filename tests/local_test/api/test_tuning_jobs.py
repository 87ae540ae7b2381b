"""Tuning jobs over the API, with training jobs that run."""

import signal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.api import check_shape, refusal_of
from tests.support.served import BUCKET, WAIT, Served, request, until
from tests.support.tuning import tuning_request

CODE = """
import json
h = json.loads((BASE / "input/config/hyperparameters.json").read_text())
print("acc=%.6f" % (1 - abs(float(h["learning-rate"]) - 0.01)), h["_tuning_objective_metric"])
"""
RANGES = {
    "IntegerParameterRanges": [{"Name": "batch-size", "MinValue": "16", "MaxValue": "256"}],
    "ContinuousParameterRanges": [
        {"Name": "learning-rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    ],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam"]}],
}


def tuning(name: str, code: str, **config: Any) -> dict[str, Any]:
    wanted = tuning_request(**{"ParameterRanges": RANGES, **config})
    wanted["HyperParameterTuningJobName"] = name
    own = request("x", code)
    for member in ("OutputDataConfig", "Environment"):
        wanted["TrainingJobDefinition"][member] = own[member]
    return wanted


def over(sagemaker: Any, name: str) -> dict[str, Any]:
    def check() -> dict[str, Any] | None:
        found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return found if found["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return until(check)


def listed_jobs(sagemaker: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    return found


def test_six_jobs_two_in_parallel_and_the_best(served: Served, sagemaker: Any) -> None:
    tags = [{"Key": "k", "Value": "v"}]
    answer = sagemaker.create_hyper_parameter_tuning_job(**tuning("Six", CODE), Tags=tags)
    arn = check_shape("CreateHyperParameterTuningJob", answer)["HyperParameterTuningJobArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/six"
    description = check_shape("DescribeHyperParameterTuningJob", over(sagemaker, "Six"))
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert description["TrainingJobStatusCounters"]["Completed"] == 6
    children = jobs_of(sagemaker, "Six", SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    assert [len(children), children[0]] == [6, description["BestTrainingJob"]]
    values = [child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for child in children]
    assert values == sorted(values, reverse=True)
    best = sagemaker.describe_training_job(TrainingJobName=children[0]["TrainingJobName"])
    assert best["TuningJobArn"] == arn
    assert best["HyperParameters"].items() >= children[0]["TunedHyperParameters"].items()
    assert [child["TrainingJobName"][:7] for child in jobs_of(sagemaker, "Six")] == [f"Six-00{n}" for n in range(1, 7)]
    assert jobs_of(sagemaker, "Six", StatusEquals="Failed") == []
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    listed = check_shape("ListHyperParameterTuningJobs", sagemaker.list_hyper_parameter_tuning_jobs(NameContains="Six"))
    assert [job["Strategy"] for job in listed["HyperParameterTuningJobSummaries"]] == ["Random"]
    sagemaker.create_hyper_parameter_tuning_job(**tuning("Afterwards", CODE))
    names = [job["HyperParameterTuningJobName"] for job in listed_jobs(sagemaker)]
    assert names == sorted(names)
    over(sagemaker, "Afterwards")
    with pytest.raises(ClientError, match="names must be unique"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning("Six", CODE))
    sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="Six")
    why = refusal_of(
        sagemaker.describe_hyper_parameter_tuning_job, "ResourceNotFound", HyperParameterTuningJobName="Six"
    )
    assert why == "Amazon SageMaker can't find a tuning job called Six. Type another name."


def jobs_of(sagemaker: Any, name: str, **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, PaginationConfig={"PageSize": 4}, **members
    )
    for page in pages:
        found += check_shape("ListTrainingJobsForHyperParameterTuningJob", page)["TrainingJobSummaries"]
    return found


def test_bayesian_jobs(served: Served, sagemaker: Any) -> None:
    sagemaker.create_hyper_parameter_tuning_job(**tuning("bayes", CODE, Strategy="Bayesian"))
    description = over(sagemaker, "bayes")
    assert description["HyperParameterTuningJobStatus"] == "Completed", description
    assert description["ObjectiveStatusCounters"]["Succeeded"] == 6
    for child in jobs_of(sagemaker, "bayes"):
        tried = child["TunedHyperParameters"]
        assert 0.0001 <= float(tried["learning-rate"]) <= 0.1
        assert int(tried["batch-size"]) in range(16, 257)
        assert tried["optimizer"] in ("sgd", "adam")


def test_warm_start(served: Served, sagemaker: Any) -> None:
    sagemaker.create_hyper_parameter_tuning_job(**tuning("parent", CODE))
    best = over(sagemaker, "parent")["BestTrainingJob"]
    config = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    request = tuning("warm", CODE, Strategy="Bayesian")
    request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 2
    sagemaker.create_hyper_parameter_tuning_job(**request, WarmStartConfig=config)
    description = check_shape("DescribeHyperParameterTuningJob", over(sagemaker, "warm"))
    assert (description["HyperParameterTuningJobStatus"], description["WarmStartConfig"]) == ("Completed", config)
    values = [
        found["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for found in (description["OverallBestTrainingJob"], best, description["BestTrainingJob"])
    ]
    assert values[0] == max(values)
    config["ParentHyperParameterTuningJobs"][0]["HyperParameterTuningJobName"] = "nobody"
    with pytest.raises(ClientError, match="can't find a tuning job called"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning("orphan", CODE), WarmStartConfig=config)


def test_a_stop(served: Served, sagemaker: Any) -> None:
    sagemaker.create_hyper_parameter_tuning_job(**tuning("stopped", WAIT))
    until(lambda: len(jobs_of(sagemaker, "stopped")) == 2)
    with pytest.raises(ClientError, match="can't be deleted while it is in status InProgress"):
        sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    description = over(sagemaker, "stopped")
    assert description["HyperParameterTuningJobStatus"] == "Stopped"
    assert description["TrainingJobStatusCounters"]["Stopped"] == 2
    with pytest.raises(ClientError, match="rejected because the hyper parameter tuning job is in status Stopped"):
        sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")


ENDLESS = """
import json
h = json.loads((BASE / "input/config/hyperparameters.json").read_text())
for epoch in range(1, 4):
    print("acc=%.6f" % (float(h["learning-rate"]) * epoch), flush=True)
signal.pause()  # until SIGTERM
"""
CURVE = """
import json
h = json.loads((BASE / "input/config/hyperparameters.json").read_text())
good = h["kind"] == "good"
for epoch in range(3):
    print("acc=%.1f" % (0.5 + 0.1 * epoch if good else 0.1), flush=True)
if not good:
    signal.pause()  # until SIGTERM
"""


def test_early_stopping_stops_what_runs(served: Served, sagemaker: Any) -> None:
    """One ends; the next is worse in its first epoch."""
    ranges = {"CategoricalParameterRanges": [{"Name": "kind", "Values": ["good", "bad"]}]}
    request = tuning("early", CURVE, Strategy="Grid", ParameterRanges=ranges, TrainingJobEarlyStoppingType="Auto")
    request["HyperParameterTuningJobConfig"]["ResourceLimits"] = {"MaxParallelTrainingJobs": 1}
    sagemaker.create_hyper_parameter_tuning_job(**request)
    description = over(sagemaker, "early")
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    good, bad = jobs_of(sagemaker, "early")
    assert (good["TrainingJobStatus"], bad["TrainingJobStatus"]) == ("Completed", "Stopped")
    assert (good["ObjectiveStatus"], bad["ObjectiveStatus"]) == ("Succeeded", "Succeeded")
    assert bad["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(0.1)
    assert description["BestTrainingJob"]["TrainingJobName"] == good["TrainingJobName"]
    stopped = sagemaker.describe_training_job(TrainingJobName=bad["TrainingJobName"])
    states = [item["Status"] for item in stopped["SecondaryStatusTransitions"]]
    assert states[-3:] == ["Stopping", "Uploading", "Stopped"]


def test_what_is_not_supported_is_refused(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match="Autotune is not supported locally"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning("no", CODE), Autotune={"Mode": "Enabled"})


def test_what_no_training_job_could_be_made_of_is_refused(served: Served, sagemaker: Any) -> None:
    """As on the service, before there is a tuning job: no data, no bucket."""
    for member, value, message in (
        (
            "InputDataConfig",
            request("x", channels={"train": f"s3://{BUCKET}/none/"})["InputDataConfig"],
            "No S3 objects",
        ),
        ("OutputDataConfig", {"S3OutputPath": "s3://no-such-bucket/"}, "its S3 bucket does not exist"),
    ):
        wanted = tuning("never", CODE)
        wanted["TrainingJobDefinition"][member] = value
        assert message in refusal_of(sagemaker.create_hyper_parameter_tuning_job, "ValidationException", **wanted)
    assert not (served.root / "tuning/never").exists()


def test_hyperband(served: Served, sagemaker: Any) -> None:
    """MaxResource is below the program's own number of epochs: what the rungs leave is stopped there."""
    given = {"HyperbandStrategyConfig": {"MaxResource": 3}}
    request = tuning("hyper", ENDLESS, Strategy="Hyperband", StrategyConfig=given)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {"epochs": "9"}
    sagemaker.create_hyper_parameter_tuning_job(**request)
    description = check_shape("DescribeHyperParameterTuningJob", over(sagemaker, "hyper"))
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert description["TrainingJobStatusCounters"]["Stopped"] == 6
    assert description["ObjectiveStatusCounters"]["Succeeded"] == 6
    assert "BestTrainingJob" in description


def test_after_a_kill_and_after_an_orderly_end(tmp_path: Path) -> None:
    with Served(tmp_path, "--parallel", "2") as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = first.client("sagemaker")
        sagemaker.create_hyper_parameter_tuning_job(**tuning("done", CODE))
        before = over(sagemaker, "done")
        sagemaker.create_hyper_parameter_tuning_job(**tuning("runs", WAIT))
        written = first.root / "tuning/runs/training_jobs.json"
        until(lambda: written.read_text().count("TrainingJobName") == 2)
        first.end(signal.SIGKILL)
    with Served(tmp_path, "--parallel", "2") as second:
        second.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = second.client("sagemaker")
        assert {**over(sagemaker, "done"), "ResponseMetadata": 0} == {**before, "ResponseMetadata": 0}
        assert len(jobs_of(sagemaker, "done")) == 6
        cut = over(sagemaker, "runs")
        assert cut["FailureReason"].startswith("InternalServerError: The local server ended")
        assert cut["TrainingJobStatusCounters"]["RetryableError"] == 2
        sagemaker.create_hyper_parameter_tuning_job(**tuning("ends", WAIT))
        until(lambda: len(jobs_of(sagemaker, "ends")) == 2)
        assert "Traceback" not in second.end()
    with Served(tmp_path) as third:
        assert over(third.client("sagemaker"), "ends")["HyperParameterTuningJobStatus"] == "Stopped"
