"""A job's states and times, as DescribeTrainingJob shows them. Pure: the clock comes in, nothing is written."""

import copy
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

from local_test.request.defaults import fill_training_job
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
_FINAL = ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")
FINAL_STATUSES = ("Completed", "Failed", "Stopped")
PLATFORM = "InternalServerError"  # begins the FailureReason that RetryStrategy is for: the platform's own fault
REASON_CHARACTERS = 1024  # of a FailureReason, with its prefix: the API's limit


class JobStatus:
    """The description of one job, safe to read from any thread while the job moves on. `now` gives aware datetimes."""

    def __init__(self, description: Mapping[str, Any], now: Callable[[], datetime]) -> None:
        self._description, self._now, self._lock = fill_training_job(description), now, threading.Lock()

    @classmethod
    def from_request(
        cls, request: Mapping[str, Any], arn: str, now: Callable[[], datetime], tuning_arn: str | None = None
    ) -> Self:
        """A job that has just been accepted: Starting."""
        created = now()
        echo = {key: value for key, value in request.items() if key not in ("TrainingJobName", "Tags")}
        description: dict[str, Any] = {
            "TrainingJobName": request["TrainingJobName"],
            "TrainingJobArn": arn,
            **({"TuningJobArn": tuning_arn} if tuning_arn else {}),
            "ModelArtifacts": {"S3ModelArtifacts": ""},
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            **echo,
            "CreationTime": created,
            "LastModifiedTime": created,
            "SecondaryStatusTransitions": [],
        }
        status = cls(description, now)
        status.move("Starting")
        return status

    @property
    def max_runtime(self) -> int:
        """Seconds."""
        return self._description["StoppingCondition"]["MaxRuntimeInSeconds"]

    @property
    def is_stopping(self) -> bool:
        with self._lock:
            return self._description["TrainingJobStatus"] == "Stopping"

    def describe(self) -> dict[str, Any]:
        """DescribeTrainingJob's response, a copy; times are datetimes."""
        with self._lock:
            return copy.deepcopy(self._description)

    def move(self, state: str) -> None:
        """Into a secondary state; the status follows, except that a job that is stopping uploads as Stopping."""
        now = self._now()
        with self._lock:
            transitions = self._description["SecondaryStatusTransitions"]
            if transitions:
                transitions[-1]["EndTime"] = now
            final = {"EndTime": now} if state in _FINAL else {}
            transitions.append({"Status": state, "StartTime": now, **final, "StatusMessage": MESSAGES[state]})
            self._description["SecondaryStatus"] = state
            self._description["TrainingJobStatus"] = _STATUS.get(state, self._description["TrainingJobStatus"])
            self._description["LastModifiedTime"] = now
            self._times(state, now)

    def _times(self, state: str, now: datetime) -> None:
        """Training time counts from the download of the data to the end of the upload."""
        description = self._description
        if state == "Downloading" and "TrainingStartTime" not in description:  # its first run
            description["TrainingStartTime"] = now
        if state in _FINAL and "TrainingStartTime" in description:
            seconds = max(1, round((now - description["TrainingStartTime"]).total_seconds()))  # the model's minimum
            description.update(TrainingEndTime=now, TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds)

    def fail(self, reason: str) -> None:
        """Why the job will be Failed."""
        with self._lock:
            self._description["FailureReason"] = reason[:REASON_CHARACTERS]

    def update(self, members: Mapping[str, Any]) -> None:
        """What UpdateTrainingJob changes."""
        with self._lock:
            changes = {**members, "LastModifiedTime": self._now()}
            self._description = fill_training_job({**self._description, **changes})

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
