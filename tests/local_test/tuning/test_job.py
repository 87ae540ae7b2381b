"""Tuning jobs over a backend that does nothing: what is counted, what ends them, what is refused."""

import math
import random
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.request.validation import _check, service_model
from local_test.tuning.job import TuningJob
from local_test.tuning.plan import read_plan
from local_test.tuning.warm_start import OBJECTIVE
from tests.support.tuning import (
    ARN,
    NOW,
    FakeBackend,
    SteppingBackend,
    accuracy,
    run_in_steps,
    run_tuning_job,
    tuning_request,
    with_change,
)


def test_the_best_of_six() -> None:
    backend = FakeBackend(accuracy)
    description, _ = run_tuning_job(backend, tuning_request())
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert len(backend.requests) == 6
    values = [float(request["HyperParameters"]["lr"]) for request in backend.requests]
    best = description["BestTrainingJob"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "Type": "Maximize", "MetricName": "acc", "Value": max(values),
    }  # fmt: skip
    assert best["TunedHyperParameters"] == {"lr": str(max(values))}
    assert description["TrainingJobStatusCounters"]["Completed"] == 6
    assert description["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    first = backend.requests[0]
    assert first["TrainingJobName"].startswith("tune-001-")
    assert first["HyperParameters"] == {"epochs": "1", OBJECTIVE: "acc", "lr": str(values[0])}
    static = description["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static == {"epochs": "1", OBJECTIVE: "acc"}
    shape = service_model().operation_model("DescribeHyperParameterTuningJob").output_shape
    assert list(_check(description, shape, "")) == []
    again = FakeBackend(accuracy)
    run_tuning_job(again, tuning_request())
    assert [request["HyperParameters"]["lr"] for request in again.requests] == [str(value) for value in values]


@pytest.mark.no_cover
def test_750_jobs_10_in_parallel_each_counted_once() -> None:
    """They end in any order, from other threads, while 5 clients look."""
    backend, rng = FakeBackend(accuracy), random.Random(3)
    backend.hold = True
    job = TuningJob(tuning_request(750, 10), ARN, backend, "us-east-1", lambda: NOW)
    backend.ended = job.on_job_end
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(job.run()))
    thread.start()
    seen = 0
    while thread.is_alive():
        backend.made.wait(0.05)
        backend.made.clear()
        for name in rng.sample(sorted(backend.running), len(backend.running)):
            backend.finish(name, rng.choice(["Completed", "Failed"]), 0.5)
        description = job.describe()
        counted = sum(description["TrainingJobStatusCounters"].values())
        assert seen <= counted <= 750
        assert sum(description["ObjectiveStatusCounters"].values()) == counted
        seen = counted
    counters = found[0]["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["NonRetryableError"] == 750
    assert counters["Completed"] == found[0]["ObjectiveStatusCounters"]["Succeeded"] > 200
    assert len(backend.jobs) == 750
    assert 5 <= backend.most <= 10


def test_a_grid_needs_no_number_of_jobs() -> None:
    ranges = {
        "CategoricalParameterRanges": [{"Name": "lr", "Values": ["1", "3", "2"]}, {"Name": "b", "Values": ["x", "y"]}]
    }
    backend = FakeBackend(accuracy)
    description, _ = run_tuning_job(backend, tuning_request(None, 4, Strategy="Grid", ParameterRanges=ranges))
    assert len({tuple(request["HyperParameters"].items()) for request in backend.requests}) == 6
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
    backend = FakeBackend(accuracy)
    description, job = run_tuning_job(backend, request)
    assert [item["HyperParameters"]["kind"] for item in backend.requests] == ["small", "large"] * 2
    assert [child["TrainingJobDefinitionName"] for child in job.children()] == ["small", "large"] * 2
    assert description["BestTrainingJob"]["TrainingJobDefinitionName"] in ("small", "large")


def test_good_enough_ends_it() -> None:
    backend = FakeBackend(lambda _: ("Completed", 0.9))
    criteria = {"TargetObjectiveMetricValue": 0.8}
    description, _ = run_tuning_job(backend, tuning_request(50, 1, TuningJobCompletionCriteria=criteria))
    assert (description["HyperParameterTuningJobStatus"], len(backend.jobs)) == ("Completed", 1)


def test_no_better_for_a_while_ends_it() -> None:
    backend = FakeBackend(lambda _: ("Completed", 0.5))
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    description, _ = run_tuning_job(backend, tuning_request(50, 1, TuningJobCompletionCriteria=criteria))
    assert (description["HyperParameterTuningJobStatus"], len(backend.jobs)) == ("Completed", 4)


def test_five_failures_before_a_success_end_it() -> None:
    backend = FakeBackend(lambda _: ("Failed", None))
    description, _ = run_tuning_job(backend, tuning_request(50, 1))
    assert (description["HyperParameterTuningJobStatus"], len(backend.jobs)) == ("Failed", 5)
    assert description["FailureReason"].startswith("No training job succeeded after 5 attempts.")
    few, _ = run_tuning_job(FakeBackend(lambda _: ("Failed", None)), tuning_request(2, 1))
    assert few["FailureReason"].startswith("All training jobs failed.")


@pytest.mark.parametrize(("most", "run"), [(50, 5), (2, 2)])
def test_an_objective_that_is_never_printed_is_said(most: int, run: int) -> None:
    backend = FakeBackend(lambda _: ("Completed", None))
    description, _ = run_tuning_job(backend, tuning_request(most, 1))
    assert (description["HyperParameterTuningJobStatus"], len(backend.jobs)) == ("Failed", run)
    assert description["FailureReason"].startswith(f"No objective metrics found after running {run} training jobs.")
    assert description["ObjectiveStatusCounters"]["Failed"] == run
    assert "BestTrainingJob" not in description


def test_no_more_jobs_than_there_are_combinations() -> None:
    ranges = {
        "IntegerParameterRanges": [{"Name": "lr", "MinValue": "1", "MaxValue": "3"}],
        "CategoricalParameterRanges": [{"Name": "b", "Values": ["x", "y"]}],
    }
    assert read_plan(tuning_request(6, ParameterRanges=ranges)).max_jobs == 6
    with pytest.raises(BadRequest, match=r"provided ranges \[6\.0\] must be .* of MaxNumberOfJobs, \[7\]"):
        read_plan(tuning_request(7, ParameterRanges=ranges))


def test_a_job_that_cannot_be_made_ends_it() -> None:
    backend = FakeBackend(accuracy)
    backend.create = lambda *_: (_ for _ in ()).throw(BadRequest("no such image"))
    description, _ = run_tuning_job(backend, tuning_request())
    assert (description["HyperParameterTuningJobStatus"], description["FailureReason"]) == ("Failed", "no such image")


def test_a_stop_stops_its_training_jobs() -> None:
    backend = FakeBackend(accuracy)
    backend.hold = True
    job = TuningJob(tuning_request(50, 3), ARN, backend, "us-east-1", lambda: NOW)
    backend.ended = job.on_job_end
    job.stop()
    assert job.describe()["HyperParameterTuningJobStatus"] == "Stopping"
    assert job.run()["HyperParameterTuningJobStatus"] == "Stopped"
    assert backend.jobs == {}


def test_its_time_is_limited() -> None:
    clock = iter(NOW + timedelta(seconds=100 * n) for n in range(1000))
    backend = FakeBackend(accuracy)
    backend.hold = True
    limits = {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 9, "MaxRuntimeInSeconds": 120}
    description, _ = run_tuning_job(backend, tuning_request(ResourceLimits=limits), now=lambda: next(clock))
    assert description["HyperParameterTuningJobStatus"] == "Stopped"
    assert description["TrainingJobStatusCounters"]["Stopped"] == 2


def test_each_child_has_checkpoints_of_its_own() -> None:
    request = tuning_request(2)
    request["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": "s3://bucket/kept/"}
    backend = FakeBackend(accuracy)
    run_tuning_job(backend, request)
    for child in backend.requests:
        assert child["CheckpointConfig"]["S3Uri"] == f"s3://bucket/kept/{child['TrainingJobName']}"


def curves(*values: list[float]) -> Callable[[dict[str, Any]], list[float]]:
    """A list a training job, in the order they are made."""
    left = iter(values)
    return lambda _: next(left)


def test_a_job_worse_than_the_median_of_those_before_is_stopped_early() -> None:
    """Running averages after two epochs: 0.3, 0.5, 0.7. The fourth's second value, 0.45, is below their median."""
    backend = SteppingBackend(
        curves([0.2, 0.4, 0.5], [0.4, 0.6, 0.7], [0.6, 0.8, 0.9], [0.7, 0.45, 0.99], [0.5, 0.55, 0.8])
    )
    request = tuning_request(5, 1, TrainingJobEarlyStoppingType="Auto")
    description, job = run_in_steps(backend, request)
    children = job.children()
    assert [child["TrainingJobStatus"] for child in children] == [*["Completed"] * 3, "Stopped", "Completed"]
    assert [backend.epochs[child["TrainingJobName"]] for child in children] == [3, 3, 3, 2, 3]
    assert {child["ObjectiveStatus"] for child in children} == {"Succeeded"}
    assert children[3]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 0.45
    assert description["TrainingJobStatusCounters"] == {
        "Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 1,
    }  # fmt: skip
    assert description["ObjectiveStatusCounters"] == {"Succeeded": 5, "Pending": 0, "Failed": 0}
    assert description["BestTrainingJob"]["TrainingJobName"] == children[2]["TrainingJobName"]
    assert description["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] == "Auto"


def test_early_stopping_of_a_loss_and_of_what_is_no_number() -> None:
    request = tuning_request(4, 1, TrainingJobEarlyStoppingType="Auto")
    request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] = "Minimize"
    backend = SteppingBackend(curves([0.5, 0.4], [0.6, 0.1], [0.4, 0.3], [math.nan, 0.1]))
    _, job = run_in_steps(backend, request)
    assert [child["TrainingJobStatus"] for child in job.children()] == ["Completed", "Stopped", "Completed", "Stopped"]
    assert list(backend.epochs.values()) == [2, 1, 2, 1]


def test_nothing_is_stopped_early_unless_asked_for() -> None:
    backend = SteppingBackend(curves([0.9, 0.9], [0.1, 0.1], [0.1, 0.1]))
    description, _ = run_in_steps(backend, tuning_request(3, 1, TrainingJobEarlyStoppingType="Off"))
    assert description["TrainingJobStatusCounters"]["Completed"] == 3


def test_a_stop_while_a_training_job_is_created_is_no_failure() -> None:
    """A server that ends stops its tuning jobs, and then takes no more training jobs."""

    class Ending(FakeBackend):
        def create(self, request: Any, tuning_arn: str | None = None) -> str:  # noqa: ARG002
            job.stop()
            raise BadRequest("The server is ending and takes no more jobs")

    job = TuningJob(tuning_request(), ARN, Ending(accuracy), "us-east-1", lambda: NOW)
    description = job.run()
    assert description["HyperParameterTuningJobStatus"] == "Stopped"
    assert "FailureReason" not in description


def test_a_job_that_a_person_stops_counts_for_nothing() -> None:
    backend = SteppingBackend(curves([0.9, 0.9], [0.8]))
    create = backend.create

    def stopped_by_hand(request: Any, tuning_arn: str | None = None) -> str:
        arn = create(request, tuning_arn)
        if request["TrainingJobName"].startswith("tune-001-"):
            backend.step()
            backend.stop(request["TrainingJobName"])
        return arn

    backend.create = stopped_by_hand  # type: ignore[method-assign]
    description, job = run_in_steps(backend, tuning_request(2, 1, TrainingJobEarlyStoppingType="Auto"))
    assert [child["ObjectiveStatus"] for child in job.children()] == ["Failed", "Succeeded"]
    assert description["BestTrainingJob"]["TrainingJobName"].startswith("tune-002-")


@pytest.mark.no_cover
def test_750_jobs_with_early_stopping_each_counted_once() -> None:
    rng = random.Random(5)

    def curve(request: dict[str, Any]) -> list[float]:
        level = float(request["HyperParameters"]["lr"])
        return [level + rng.gauss(0, 0.05) for _ in range(6)]

    backend = SteppingBackend(curve)
    description, _ = run_in_steps(backend, tuning_request(750, 10, TrainingJobEarlyStoppingType="Auto"))
    counters = description["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["Stopped"] == 750 == description["ObjectiveStatusCounters"]["Succeeded"]
    assert 0.3 < counters["Stopped"] / 750 < 0.8  # half are worse than a median, some of the others too for once
    assert sum(backend.epochs.values()) < 0.8 * 6 * 750


def test_what_failed_by_the_platforms_fault_could_be_retried() -> None:
    backend = FakeBackend(accuracy)
    create = backend.create

    def failing(request: Any, tuning_arn: str | None = None) -> str:
        arn = create(request, tuning_arn)
        fault = {"tune-001": "InternalServerError: no engine", "tune-002": "AlgorithmError: , exit code: 1"}
        if reason := fault.get(request["TrainingJobName"][:8]):
            backend.jobs[request["TrainingJobName"]].update(TrainingJobStatus="Failed", FailureReason=reason)
        return arn

    backend.create = failing  # type: ignore[method-assign]
    request = tuning_request(3)
    request["TrainingJobDefinition"]["RetryStrategy"] = {"MaximumRetryAttempts": 2}
    description, _ = run_tuning_job(backend, request)
    counters = description["TrainingJobStatusCounters"]
    assert (counters["RetryableError"], counters["NonRetryableError"], counters["Completed"]) == (1, 1, 1)
    assert all(item["RetryStrategy"] == {"MaximumRetryAttempts": 2} for item in backend.requests)


CONFIG = "HyperParameterTuningJobConfig"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            tuning_request(StrategyConfig={"HyperbandStrategyConfig": {"MaxResource": 3}}),
            "StrategyConfig is for Strategy Hyperband only. Received: Strategy Random",
        ),
        (with_change("Autotune", {"Mode": "Enabled"}), "Autotune is not supported"),
        (
            with_change(f"{CONFIG}.HyperParameterTuningJobObjective.MetricName", "loss"),
            "A metric is required for this hyperparameter tuning job objective.* Received: loss. Defined: acc",
        ),
        (with_change("TrainingJobDefinition.StaticHyperParameters", {"lr": "1"}), "static or has a range, not both"),
        (with_change("TrainingJobDefinition", None), "trainingJobDefinition"),
        (tuning_request(None), "MaxNumberOfTrainingJobs is missing"),
        (tuning_request(751), "at most 750"),
        (
            with_change("TrainingJobDefinition.AlgorithmSpecification.AlgorithmName", "mine"),
            "AlgorithmSpecification.AlgorithmName is not supported",
        ),
        (with_change("HyperParameterTuningJobName", "a" * 33), "length less than or equal to 32"),
    ],
)
def test_what_is_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_plan(request_)
