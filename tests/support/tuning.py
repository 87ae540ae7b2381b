"""Tuning jobs over a backend that trains nothing: requests, backends, and how to run them to the end."""

import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from local_test.training.job_queue import NotFound
from local_test.training.metrics import Metric
from local_test.tuning.job import TuningJob

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
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }


class FakeBackend:
    """Training jobs that end when they are told to, or at once: `result` gives their status and objective."""

    def __init__(self, result: Callable[[dict[str, Any]], tuple[str, float | None]]) -> None:
        self._result = result
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self.ended: Callable[[str], None] = lambda _: None
        self.running, self.most, self.hold = set[str](), 0, False
        self.made = threading.Event()

    def create(self, request: Any, tuning_arn: str | None = None) -> str:
        name = request["TrainingJobName"]
        assert name not in self.jobs
        self.requests.append(request)
        self.jobs[name] = {"TrainingJobStatus": "InProgress", "TuningJobArn": tuning_arn}
        self.running.add(name)
        self.most = max(self.most, len(self.running))
        if not self.hold:
            self.finish(name, *self._result(request))
        self.made.set()
        return f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}"

    def finish(self, name: str, status: str, value: float | None) -> None:
        self.running.discard(name)
        values = [] if value is None else [{"MetricName": "acc", "Value": value, "Timestamp": NOW}]
        self.jobs[name].update(TrainingJobStatus=status, FinalMetricDataList=values)
        self.ended(name)

    def describe(self, name: str) -> dict[str, Any]:
        if name not in self.jobs:
            raise NotFound
        return self.jobs[name]

    def stop(self, name: str) -> None:
        self.finish(name, "Stopped", None)


def run_tuning_job(backend: FakeBackend, request: dict[str, Any], **options: Any) -> tuple[dict[str, Any], TuningJob]:
    job = TuningJob(request, ARN, backend, "us-east-1", options.get("now", lambda: NOW))
    backend.ended = job.on_job_end
    return job.run(), job


def accuracy(request: dict[str, Any]) -> tuple[str, float | None]:
    return "Completed", float(request["HyperParameters"]["lr"])


class SteppingBackend(FakeBackend):
    """Training jobs that run epoch by epoch and print their objective, several in turn; a stop comes before the next
    epoch. `curve`: a request → its objective in every epoch."""

    def __init__(self, curve: Callable[[dict[str, Any]], list[float]]) -> None:
        super().__init__(accuracy)
        self.hold, self._curve = True, curve
        self.left: dict[str, list[float]] = {}
        self.epochs: dict[str, int] = {}
        self.job: TuningJob | None = None
        self._stops: set[str] = set()

    def create(self, request: Any, tuning_arn: str | None = None) -> str:
        arn = super().create(request, tuning_arn)
        self.left[request["TrainingJobName"]] = list(self._curve(request))
        self.epochs[request["TrainingJobName"]] = 0
        return arn

    def stop(self, name: str) -> None:
        assert name in self.running
        self._stops.add(name)

    def step(self) -> None:
        """An epoch of every job that runs."""
        assert self.job
        for name in sorted(self.running):
            last = self.jobs[name].get("last")
            if name in self._stops or not self.left[name]:
                self.finish(name, "Stopped" if name in self._stops else "Completed", last)
                continue
            value = self.left[name].pop(0)
            self.jobs[name]["last"] = value
            self.job.on_metric(name, Metric(NOW, "acc", value, self.epochs[name]))
            self.epochs[name] += 1


class SteppingQueue(queue.SimpleQueue[Any]):
    """Steps the backend whenever the tuning job waits for an event."""

    def __init__(self, backend: SteppingBackend) -> None:
        self._backend = backend

    def get(self, *, timeout: float | None) -> Any:  # type: ignore[override]  # noqa: ARG002 - a queue's
        while self.empty():
            self._backend.step()
        return super().get()


def run_in_steps(backend: SteppingBackend, request: dict[str, Any], **options: Any) -> tuple[dict[str, Any], TuningJob]:
    """To the end; the tuning job has seen all of an epoch before the next begins: no thread, no clock."""
    job = TuningJob(request, ARN, backend, "us-east-1", lambda: NOW, events=SteppingQueue(backend), **options)
    backend.job, backend.ended = job, job.on_job_end
    return job.run(), job


def with_change(path: str, value: Any, **config: Any) -> dict[str, Any]:
    request = tuning_request(**config)
    *parents, last = path.split(".")
    at = request
    for name in parents:
        at = at[name]
    at[last] = value
    return request
