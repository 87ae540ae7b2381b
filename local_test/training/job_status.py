"""A job's states and times, as its Describe operation shows them. Pure: the clock comes in, nothing is written."""

import copy
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from local_test.request.defaults import fill_training_job
from local_test.request.job_kind import TRAINING, JobKind
from local_test.training.metrics import Metric

# The service's words for each state.
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Stopping": "Stopping the training job",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job waiting time exceeded MaxWaitTimeInSeconds provided",
    "Interrupted": "The managed spot training instances were interrupted",
    "Restarting": "Restarting the training job after an internal error",
}
_STATUS = {
    "Stopping": "Stopping",
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
_WITHOUT_INSTANCES = ("Starting", "Interrupted", "Restarting")  # nobody pays for these
FINAL_STATES = ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")
FINAL_STATUSES = ("Completed", "Failed", "Stopped")
PLATFORM = "InternalServerError"  # begins the FailureReason that RetryStrategy is for: the platform's own fault
REASON_CHARACTERS = 1024  # of a FailureReason, with its prefix: the API's limit


class JobStatus:
    """The description of one job of a kind, safe to read from any thread while the job moves on. `now` gives aware
    datetimes.

    Every description has a SecondaryStatus; where the kind's answers have none, it is the platform's own.
    """

    kind: ClassVar[JobKind]

    def __init__(self, description: Mapping[str, Any], now: Callable[[], datetime]) -> None:
        self._description, self._now, self._lock = self._fill(description), now, threading.Lock()

    @classmethod
    def from_request(
        cls, request: Mapping[str, Any], arn: str, now: Callable[[], datetime], more: Mapping[str, Any] | None = None
    ) -> Self:
        """A job that has just been accepted: Starting. `more` members than the request has."""
        created, name = now(), cls.kind.name
        echo = {key: value for key, value in request.items() if key not in (f"{name}Name", "Tags")}
        description = {
            f"{name}Name": cls.kind.name_of(request),
            f"{name}Arn": arn,
            **(more or {}),
            f"{name}Status": "InProgress",
            "SecondaryStatus": "Starting",
            **echo,
            "CreationTime": created,
            "LastModifiedTime": created,
        }
        status = cls(description, now)
        status.move("Starting")
        return status

    @staticmethod
    def _fill(description: Mapping[str, Any]) -> dict[str, Any]:
        """With what the service adds; filled in twice it is the same."""
        raise NotImplementedError

    @property
    def max_runtime(self) -> int:
        """Seconds."""
        return self._description["StoppingCondition"]["MaxRuntimeInSeconds"]

    @property
    def is_stopping(self) -> bool:
        with self._lock:
            return self.kind.status_of(self._description) == "Stopping"

    @property
    def is_over(self) -> bool:
        with self._lock:
            return self.kind.status_of(self._description) in FINAL_STATUSES

    def describe(self) -> dict[str, Any]:
        """The response of the kind's Describe operation, a copy; times are datetimes."""
        with self._lock:
            return copy.deepcopy(self._description)

    def move(self, state: str, at: datetime | None = None) -> None:
        """Into a secondary state; the status follows, except that a job that is stopping uploads as Stopping. `at`:
        when that was, if it is seen only now."""
        now, member = self._now(), f"{self.kind.name}Status"
        with self._lock:
            self._description["SecondaryStatus"] = state
            self._description[member] = _STATUS.get(state, self._description[member])
            self._description["LastModifiedTime"] = now
            self._enter(state, min(at or now, now))

    def _enter(self, state: str, now: datetime) -> None:
        """The times of its work: from the download of the data to the end of the upload."""
        start, end = (f"{self.kind.running}{what}Time" for what in ("Start", "End"))
        if state == "Downloading":
            self._description.setdefault(start, now)  # its first run
        if state in FINAL_STATES and start in self._description:
            self._description[end] = now

    def fail(self, reason: str) -> None:
        """Why the job will be Failed."""
        with self._lock:
            self._description["FailureReason"] = reason[:REASON_CHARACTERS]


class TrainingJobStatus(JobStatus):
    """As DescribeTrainingJob shows it."""

    kind = TRAINING
    _fill = staticmethod(fill_training_job)

    @classmethod
    def from_request(
        cls, request: Mapping[str, Any], arn: str, now: Callable[[], datetime], more: Mapping[str, Any] | None = None
    ) -> Self:
        own = {"ModelArtifacts": {"S3ModelArtifacts": ""}, "SecondaryStatusTransitions": []}
        return super().from_request(request, arn, now, {**(more or {}), **own})

    def _enter(self, state: str, now: datetime) -> None:
        description = self._description
        transitions = description["SecondaryStatusTransitions"]
        if transitions:
            now = max(now, transitions[-1]["StartTime"])  # also where a clock was put back
            transitions[-1]["EndTime"] = now
        super()._enter(state, now)
        final = {"EndTime": now} if state in FINAL_STATES else {}
        transitions.append({"Status": state, "StartTime": now, **final, "StatusMessage": MESSAGES[state]})
        if "TrainingEndTime" in description:
            spent = (
                item["EndTime"] - item["StartTime"] for item in transitions if item["Status"] not in _WITHOUT_INSTANCES
            )
            whole = max(1, round(sum(spent, timedelta()).total_seconds()))  # the model's minimum
            description.update(TrainingTimeInSeconds=whole, BillableTimeInSeconds=whole)

    def update(self, members: Mapping[str, Any]) -> None:
        """What UpdateTrainingJob changes."""
        with self._lock:
            changes = {**members, "LastModifiedTime": self._now()}
            self._description = self._fill({**self._description, **changes})

    def set_model(self, model_uri: str) -> None:
        """Where the model is."""
        with self._lock:
            self._description["ModelArtifacts"] = {"S3ModelArtifacts": model_uri}

    def set_metrics(self, final: Mapping[str, Metric]) -> None:
        """The last value of every metric."""
        values = [
            {"MetricName": metric.name, "Value": metric.value, "Timestamp": metric.timestamp}
            for metric in list(final.values())
        ]
        if values:
            with self._lock:
                self._description["FinalMetricDataList"] = values


def format_algorithm_error(failure: str, code: int, out_of_memory: bool) -> str:
    """The service's words for a container that ended badly: `AlgorithmError: <text>, exit code: N`.

    `failure` is the content of /opt/ml/output/failure, empty if there is none. That it was killed, and whether for lack
    of memory, is ours to add: the service leaves the text empty then.
    """
    end = f", exit code: {code}"
    parts = [failure.strip()]
    if out_of_memory:
        parts.append("killed: out of memory")
    elif code == 128 + 9:
        parts.append("killed with SIGKILL; not seen to be out of memory")
    text = "; ".join(part for part in parts if part)
    return f"{f'AlgorithmError: {text}'[: REASON_CHARACTERS - len(end)]}{end}"
