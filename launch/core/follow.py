"""A job followed to its end: states, log lines as they come, and at last metrics and where the model is."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from launch.core.errors import passes
from launch.core.preflight import client

GROUP = "/aws/sagemaker/TrainingJobs"
_SECONDS = 2.0
_PATIENCE = 100  # looks without an answer, of some seconds each, before following is given up
_OVER = ("Completed", "Failed", "Stopped")

Say = Callable[[str], object]


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def followed(command: str, name: str) -> int:
    """The exit code: 0 if the job completed. Ctrl-C asks whether the job is to stop, too."""
    job = TrainingJob(name) if command == "train" else TuningJob(name)
    while True:
        try:
            _watch(job)
            return job.told()
        except KeyboardInterrupt:
            if not _asked(f"\nStop {name}, too? [y/N] "):
                say(f"{name} goes on.")
                return 130
            job.stop()


def _watch(job: "TrainingJob | TuningJob") -> None:
    """Until the job is over. It does not need us: a network that is away for a while ends nothing."""
    unanswered = 0
    while True:
        try:
            if job.look():
                return
            unanswered = 0
        except Exception as error:
            unanswered += 1
            if not passes(error) or unanswered > _PATIENCE:
                raise
            if unanswered == 1:
                say("-- AWS does not answer; the job goes on, and so does looking")
        time.sleep(_SECONDS)


def _asked(question: str) -> bool:
    """Whether the answer is yes; no where nobody can be asked."""
    if not sys.stdin.isatty():
        return False
    sys.stdout.write(question)
    sys.stdout.flush()
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return False


class TrainingJob:
    """One training job."""

    def __init__(self, name: str, say: Say = say) -> None:
        self._name, self._say = name, say
        self._sagemaker, self._lines = client("sagemaker"), Lines(name)
        self._state = ""
        self._description: Mapping[str, Any] = {}

    def look(self) -> bool:
        """Tell what is new; whether the job is over."""
        self._description = self._sagemaker.describe_training_job(TrainingJobName=self._name)
        over = self._description["TrainingJobStatus"] in _OVER
        transition = (self._description.get("SecondaryStatusTransitions") or [{}])[-1]
        state = f"{self._description['SecondaryStatus']}: {transition.get('StatusMessage', '')}".rstrip(": ")
        if not over:
            self._tell(state)
        self._tell_lines()
        if over:
            time.sleep(_SECONDS)  # CloudWatch shows a line some time after it was written
            self._tell_lines()
            self._tell(state)
        return over

    def _tell_lines(self) -> None:
        for line in self._lines.new():
            self._say(line)

    def _tell(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._say(f"-- {state}")

    def stop(self) -> None:
        self._sagemaker.stop_training_job(TrainingJobName=self._name)

    def told(self) -> int:
        """Metrics, model and why it failed; the exit code."""
        if reason := self._description.get("FailureReason"):
            self._say(f"{self._name} has failed: {reason}")
        for line in result(self._description):
            self._say(line)
        return 0 if self._description["TrainingJobStatus"] == "Completed" else 1


def result(description: Mapping[str, Any]) -> Iterator[str]:
    """Metrics, what is paid for, and the model's address, a line each."""
    for metric in description.get("FinalMetricDataList", []):
        yield f"{metric['MetricName']:<20} {metric['Value']:.6g}"
    if "BillableTimeInSeconds" in description:
        resources = description["ResourceConfig"]
        yield (
            f"billed               {description['BillableTimeInSeconds']} s of {resources['InstanceCount']} × "
            f"{resources['InstanceType']}"
        )
    if model := description.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        yield f"model                {model}"


class Lines:
    """The log lines of a job, of every host: from CloudWatch Logs, each once."""

    def __init__(self, job: str) -> None:
        self._logs, self._job = client("logs"), job
        self._tokens: dict[str, str] = {}  # stream → where to go on

    def new(self) -> Iterator[str]:
        """Those since the last call."""
        for stream in self._streams():
            host = stream.removeprefix(f"{self._job}/").rpartition("-")[0]
            for event in self._events(stream):
                yield f"{host}  {event['message']}"

    def _streams(self) -> list[str]:
        asked = {"logGroupName": GROUP, "logStreamNamePrefix": f"{self._job}/"}
        try:
            pages = self._logs.get_paginator("describe_log_streams").paginate(**asked)
            return sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":  # no job has written a line yet
                return []
            raise

    def _events(self, stream: str) -> Iterator[Mapping[str, Any]]:
        asked = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
        while True:
            token = self._tokens.get(stream)
            page = self._logs.get_log_events(**asked, **({"nextToken": token} if token else {}))
            yield from page["events"]
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token or not page["events"]:  # the end, for now
                return


class TuningJob:
    """A tuning job and its training jobs."""

    def __init__(self, name: str, say: Say = say) -> None:
        self._name, self._say = name, say
        self._sagemaker = client("sagemaker")
        self._told: dict[str, str] = {}
        self._description: Mapping[str, Any] = {}

    def look(self) -> bool:
        """As TrainingJob's."""
        asked = {"HyperParameterTuningJobName": self._name}
        self._description = self._sagemaker.describe_hyper_parameter_tuning_job(**asked)
        pages = self._sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(**asked)
        jobs = [job for page in pages for job in page["TrainingJobSummaries"]]
        for job in sorted(jobs, key=lambda job: (job["CreationTime"], job["TrainingJobName"])):
            self._tell(job)
        return self._description["HyperParameterTuningJobStatus"] in _OVER

    def _tell(self, job: Mapping[str, Any]) -> None:
        objective = job.get("FinalHyperParameterTuningJobObjectiveMetric")
        value = f"  {objective['MetricName']}={objective['Value']:.6g}" if objective else ""
        tuned = "  ".join(f"{name}={text}" for name, text in sorted(job["TunedHyperParameters"].items()))
        line = f"{job['TrainingJobName']}  {job['TrainingJobStatus']}{value}  {tuned}"
        if self._told.get(job["TrainingJobName"]) != line:
            self._told[job["TrainingJobName"]] = line
            self._say(line)

    def stop(self) -> None:
        self._sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=self._name)

    def told(self) -> int:
        """The best job's hyperparameters, metrics and model; the exit code."""
        status = self._description["HyperParameterTuningJobStatus"]
        reason = self._description.get("FailureReason")
        self._say(f"-- {status}" + (f": {reason}" if reason else ""))
        if best := self._description.get("BestTrainingJob"):
            self._say(f"best                 {best['TrainingJobName']}")
            for name, value in sorted(best["TunedHyperParameters"].items()):
                self._say(f"{name:<20} {value}")
            for line in result(self._sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])):
                self._say(line)
        return 0 if status == "Completed" else 1
