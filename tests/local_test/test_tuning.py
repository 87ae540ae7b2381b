"""Tuning jobs over a trainer that does nothing: what is counted, what ends them, what is refused."""

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.tuning import TuningJob
from local_test.tuning_request import OBJECTIVE, read_plan
from local_test.validation import _check, service_model

ARN = "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/tune"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def tuning_request(jobs: int | None = 6, parallel: int = 2, **config: Any) -> dict[str, Any]:
    limits = {"MaxParallelTrainingJobs": parallel, **({"MaxNumberOfTrainingJobs": jobs} if jobs else {})}
    return {
        "HyperParameterTuningJobName": "tune",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "acc"},
            "ResourceLimits": limits,
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}]},
            "RandomSeed": 1,
            **config,
        },
        "TrainingJobDefinition": definition(),
    }


def definition(**members: Any) -> dict[str, Any]:
    return {
        "StaticHyperParameters": {"epochs": "1"},
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "Pipe",
            "MetricDefinitions": [{"Name": "acc", "Regex": "acc=([0-9.]+)"}],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **members,
    }


class FakeTrainer:
    """Training jobs that end when they are told to, or at once: `result` gives their status and objective."""

    def __init__(self, result: Callable[[dict[str, Any]], tuple[str, float | None]]) -> None:
        self._result = result
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self.ended: Callable[[str], None] = lambda _: None
        self.running, self.most, self.hold = set[str](), 0, False
        self.made = threading.Event()

    def create(self, request: Any, region: str, tuning_arn: str | None = None) -> str:
        name = request["TrainingJobName"]
        assert name not in self.jobs
        self.requests.append(request)
        self.jobs[name] = {"TrainingJobStatus": "InProgress", "TuningJobArn": tuning_arn}
        self.running.add(name)
        self.most = max(self.most, len(self.running))
        if not self.hold:
            self.finish(name, *self._result(request))
        self.made.set()
        return f"arn:aws:sagemaker:{region}:123456789012:training-job/{name}"

    def finish(self, name: str, status: str, value: float | None) -> None:
        self.running.discard(name)
        values = [] if value is None else [{"MetricName": "acc", "Value": value, "Timestamp": NOW}]
        self.jobs[name].update(TrainingJobStatus=status, FinalMetricDataList=values)
        self.ended(name)

    def describe(self, name: str) -> dict[str, Any]:
        return self.jobs[name]

    def stop(self, name: str) -> None:
        self.finish(name, "Stopped", None)


def tuned(trainer: FakeTrainer, request: dict[str, Any], **options: Any) -> tuple[dict[str, Any], TuningJob]:
    job = TuningJob(request, ARN, trainer, "us-east-1", options.get("now", lambda: NOW))
    trainer.ended = job.ended
    return job.run(), job


def accuracy(request: dict[str, Any]) -> tuple[str, float | None]:
    return "Completed", float(request["HyperParameters"]["lr"])


def test_the_best_of_six() -> None:
    trainer = FakeTrainer(accuracy)
    description, _ = tuned(trainer, tuning_request())
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert len(trainer.requests) == 6
    values = [float(request["HyperParameters"]["lr"]) for request in trainer.requests]
    best = description["BestTrainingJob"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "Type": "Maximize", "MetricName": "acc", "Value": max(values),
    }  # fmt: skip
    assert best["TunedHyperParameters"] == {"lr": str(max(values))}
    assert description["TrainingJobStatusCounters"]["Completed"] == 6
    assert description["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    first = trainer.requests[0]
    assert first["TrainingJobName"].startswith("tune-001-")
    assert first["HyperParameters"] == {"epochs": "1", OBJECTIVE: "acc", "lr": str(values[0])}
    static = description["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static == {"epochs": "1", OBJECTIVE: "acc"}
    shape = service_model().operation_model("DescribeHyperParameterTuningJob").output_shape
    assert list(_check(description, shape, "")) == []
    again = FakeTrainer(accuracy)
    tuned(again, tuning_request())
    assert [request["HyperParameters"]["lr"] for request in again.requests] == [str(value) for value in values]


def test_750_jobs_10_in_parallel_each_counted_once() -> None:
    """They end in any order, from other threads, while 5 clients look."""
    trainer, rng = FakeTrainer(accuracy), random.Random(3)
    trainer.hold = True
    job = TuningJob(tuning_request(750, 10), ARN, trainer, "us-east-1", lambda: NOW)
    trainer.ended = job.ended
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(job.run()))
    thread.start()
    seen = 0
    while thread.is_alive():
        trainer.made.wait(0.05)
        trainer.made.clear()
        for name in rng.sample(sorted(trainer.running), len(trainer.running)):
            trainer.finish(name, rng.choice(["Completed", "Failed"]), 0.5)
        description = job.describe()
        counted = sum(description["TrainingJobStatusCounters"].values())
        assert seen <= counted <= 750
        assert sum(description["ObjectiveStatusCounters"].values()) == counted
        seen = counted
    counters = found[0]["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["NonRetryableError"] == 750
    assert counters["Completed"] == found[0]["ObjectiveStatusCounters"]["Succeeded"] > 200
    assert len(trainer.jobs) == 750
    assert 5 <= trainer.most <= 10


def test_a_grid_needs_no_number_of_jobs() -> None:
    ranges = {
        "CategoricalParameterRanges": [{"Name": "lr", "Values": ["1", "3", "2"]}, {"Name": "b", "Values": ["x", "y"]}]
    }
    trainer = FakeTrainer(accuracy)
    description, _ = tuned(trainer, tuning_request(None, 4, Strategy="Grid", ParameterRanges=ranges))
    assert len({tuple(request["HyperParameters"].items()) for request in trainer.requests}) == 6
    assert description["BestTrainingJob"]["TunedHyperParameters"]["lr"] == "3"
    with pytest.raises(BadRequest, match=r"must be the grid's 6 or left out\. Received: 5"):
        read_plan(tuning_request(5, 4, Strategy="Grid", ParameterRanges=ranges))


def test_several_definitions_take_turns() -> None:
    request = tuning_request(4)
    config, one = request["HyperParameterTuningJobConfig"], request.pop("TrainingJobDefinition")
    objective, ranges = config.pop("HyperParameterTuningJobObjective"), config.pop("ParameterRanges")
    request["TrainingJobDefinitions"] = [
        {**one, "DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": ranges,
         "StaticHyperParameters": {"kind": name}} for name in ("small", "large")
    ]  # fmt: skip
    trainer = FakeTrainer(accuracy)
    description, job = tuned(trainer, request)
    assert [item["HyperParameters"]["kind"] for item in trainer.requests] == ["small", "large"] * 2
    assert [child["TrainingJobDefinitionName"] for child in job.children()] == ["small", "large"] * 2
    assert description["BestTrainingJob"]["TrainingJobDefinitionName"] in ("small", "large")


def test_good_enough_ends_it() -> None:
    trainer = FakeTrainer(lambda _: ("Completed", 0.9))
    criteria = {"TargetObjectiveMetricValue": 0.8}
    description, _ = tuned(trainer, tuning_request(50, 1, TuningJobCompletionCriteria=criteria))
    assert (description["HyperParameterTuningJobStatus"], len(trainer.jobs)) == ("Completed", 1)


def test_no_better_for_a_while_ends_it() -> None:
    trainer = FakeTrainer(lambda _: ("Completed", 0.5))
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    description, _ = tuned(trainer, tuning_request(50, 1, TuningJobCompletionCriteria=criteria))
    assert (description["HyperParameterTuningJobStatus"], len(trainer.jobs)) == ("Completed", 4)


def test_five_failures_before_a_success_end_it() -> None:
    trainer = FakeTrainer(lambda _: ("Failed", None))
    description, _ = tuned(trainer, tuning_request(50, 1))
    assert (description["HyperParameterTuningJobStatus"], len(trainer.jobs)) == ("Failed", 5)
    assert description["FailureReason"].startswith("No training job succeeded after 5 attempts.")
    few, _ = tuned(FakeTrainer(lambda _: ("Completed", None)), tuning_request(2, 1))
    assert few["FailureReason"].startswith("All training jobs failed.")
    assert few["ObjectiveStatusCounters"]["Failed"] == 2
    assert "BestTrainingJob" not in few


def test_a_job_that_cannot_be_made_ends_it() -> None:
    trainer = FakeTrainer(accuracy)
    trainer.create = lambda *_: (_ for _ in ()).throw(BadRequest("no such image"))
    description, _ = tuned(trainer, tuning_request())
    assert (description["HyperParameterTuningJobStatus"], description["FailureReason"]) == ("Failed", "no such image")


def test_a_stop_stops_its_training_jobs() -> None:
    trainer = FakeTrainer(accuracy)
    trainer.hold = True
    job = TuningJob(tuning_request(50, 3), ARN, trainer, "us-east-1", lambda: NOW)
    trainer.ended = job.ended
    job.stop()
    assert job.describe()["HyperParameterTuningJobStatus"] == "Stopping"
    assert job.run()["HyperParameterTuningJobStatus"] == "Stopped"
    assert trainer.jobs == {}


def test_its_time_is_limited() -> None:
    clock = iter(NOW + timedelta(seconds=100 * n) for n in range(1000))
    trainer = FakeTrainer(accuracy)
    trainer.hold = True
    limits = {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 9, "MaxRuntimeInSeconds": 120}
    description, _ = tuned(trainer, tuning_request(ResourceLimits=limits), now=lambda: next(clock))
    assert description["HyperParameterTuningJobStatus"] == "Stopped"
    assert description["TrainingJobStatusCounters"]["Stopped"] == 2


def test_each_child_has_checkpoints_of_its_own() -> None:
    request = tuning_request(2)
    request["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": "s3://bucket/kept/"}
    trainer = FakeTrainer(accuracy)
    tuned(trainer, request)
    for child in trainer.requests:
        assert child["CheckpointConfig"]["S3Uri"] == f"s3://bucket/kept/{child['TrainingJobName']}"


def changed(path: str, value: Any, **config: Any) -> dict[str, Any]:
    request = tuning_request(**config)
    *parents, last = path.split(".")
    at = request
    for name in parents:
        at = at[name]
    at[last] = value
    return request


CONFIG = "HyperParameterTuningJobConfig"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (tuning_request(Strategy="Hyperband"), "Strategy Hyperband is not supported locally. Supported: Bayesian"),
        (tuning_request(TrainingJobEarlyStoppingType="Auto"), "TrainingJobEarlyStoppingType is not supported"),
        (changed("Autotune", {"Mode": "Enabled"}), "Autotune is not supported"),
        (
            changed(
                "WarmStartConfig",
                {
                    "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "a"}],
                    "WarmStartType": "TransferLearning",
                },
            ),
            "WarmStartConfig is not supported",
        ),
        (
            changed(f"{CONFIG}.HyperParameterTuningJobObjective.MetricName", "loss"),
            "must be one of MetricDefinitions. Received: loss. Defined: acc",
        ),
        (changed("TrainingJobDefinition.StaticHyperParameters", {"lr": "1"}), "static or has a range, not both"),
        (changed("TrainingJobDefinition", None), "trainingJobDefinition"),
        (tuning_request(None), "MaxNumberOfTrainingJobs is missing"),
        (tuning_request(751), "at most 750"),
        (
            changed("TrainingJobDefinition.VpcConfig", {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
            "VpcConfig",
        ),
        (changed("HyperParameterTuningJobName", "a" * 33), "length less than or equal to 32"),
    ],
)
def test_what_is_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_plan(request_)
