"""Follows a job to its end: states, log lines as they come, and at last metrics and where the model is."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from launch.core.console import format_seconds, say, silence
from launch.core.errors import is_transient
from launch.core.preflight import client
from launch.core.summary import exit_code, summarize_training, summarize_tuning

GROUP = "/aws/sagemaker/TrainingJobs"
_SECONDS = 2.0
_QUIET_SECONDS = 7.0  # after which the next poll says that the job goes on: nobody waits for ten seconds without a word
_PATIENCE = 100  # polls without an answer, of some seconds each, before it gives up
LEFT = 130  # the exit code of who leaves a job that goes on
_OVER = ("Completed", "Failed", "Stopped")

Say = Callable[[str], object]


def follow(command: str, name: str) -> int:
    """The exit code: 0 if the job completed. Ctrl-C asks whether the job is to stop, too."""
    code = follow_to_end(name, TrainingJob(name) if command == "train" else TuningJob(name))
    if code == LEFT:
        say_way_back(name)
    return code


def say_way_back(name: str) -> None:
    """How to follow a job later, and how to stop it: where it is, as boto3 finds it here."""
    meta = client("sagemaker").meta
    on_aws = ".amazonaws.com" in (urlsplit(meta.endpoint_url).hostname or "")
    place = ["--aws", "--region", meta.region_name] if on_aws else ["--endpoint-url", meta.endpoint_url]
    for word, command in (("follow it:", "attach"), ("stop it:  ", "stop")):
        say(f"-- {word} {shlex.join(['python', '-m', 'local_test', command, name, *place])}")


class Followed(Protocol):
    """What runs without us."""

    @property
    def state(self) -> str:
        """As of the last poll."""

    def poll(self) -> bool:
        """Print what is new; whether it is over."""

    def stop(self) -> None: ...

    def print_summary(self) -> int:
        """Print what it has left; the exit code."""


def follow_to_end(name: str, job: Followed) -> int:
    """The exit code of its summary. Ctrl-C asks whether it is to stop, too."""
    while True:
        try:
            _watch(job)
            return job.print_summary()
        except KeyboardInterrupt:
            if not _confirm(f"\nStop {name}, too? [y/N] "):
                say(f"{name} goes on.")
                return LEFT
            job.stop()


def _watch(job: Followed) -> None:
    """Poll until the job is over. The job runs without us, so a network that is away for a while ends nothing."""
    unanswered, began = 0, time.monotonic()
    while True:
        try:
            if job.poll():
                return
            unanswered = 0
        except Exception as error:
            unanswered += 1
            if not is_transient(error) or unanswered > _PATIENCE:
                raise
            if unanswered == 1:
                say("-- AWS does not answer; the job goes on, and so does looking")
        if silence() >= _QUIET_SECONDS:
            say(f"-- {'no answer' if unanswered else job.state}: {format_seconds(time.monotonic() - began)}")
        time.sleep(_SECONDS)


def _confirm(question: str) -> bool:
    """Whether the answer is yes; no where there is no terminal to ask at."""
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
        self._sagemaker, self._lines = client("sagemaker"), LogLines(name)
        self._state = ""
        self._description: Mapping[str, Any] = {}

    def poll(self) -> bool:
        """Print what is new; whether the job is over."""
        self._description = self._sagemaker.describe_training_job(TrainingJobName=self._name)
        over = self._description["TrainingJobStatus"] in _OVER
        transition = (self._description.get("SecondaryStatusTransitions") or [{}])[-1]
        state = f"{self._description['SecondaryStatus']}: {transition.get('StatusMessage', '')}".rstrip(": ")
        if not over:
            self._print_state(state)
        self._print_lines()
        if over:
            time.sleep(_SECONDS)  # CloudWatch shows a line some time after it was written
            self._print_lines()
            self._print_state(state)
        return over

    @property
    def state(self) -> str:
        return str(self._description["SecondaryStatus"])

    def _print_lines(self) -> None:
        for line in self._lines.read_new():
            self._say(line)

    def _print_state(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._say(f"-- {state}")

    def stop(self) -> None:
        self._sagemaker.stop_training_job(TrainingJobName=self._name)

    def print_summary(self) -> int:
        """Print metrics, model and why it failed; the exit code."""
        for line in summarize_training(self._description):
            self._say(line)
        return exit_code(self._description)


class LogLines:
    """The log lines of a job, of every host: from CloudWatch Logs, each once."""

    def __init__(self, job: str) -> None:
        self._logs, self._job = client("logs"), job
        self._tokens: dict[str, str] = {}  # stream → where to go on

    def read_new(self) -> Iterator[str]:
        """Those since the last call."""
        for stream in self._streams():
            host = stream.removeprefix(f"{self._job}/").rpartition("-")[0]
            for event in self._events(stream):
                yield f"{host}  {event['message']}"

    def _streams(self) -> list[str]:
        members = {"logGroupName": GROUP, "logStreamNamePrefix": f"{self._job}/"}
        try:
            pages = self._logs.get_paginator("describe_log_streams").paginate(**members)
            return sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":  # no job has written a line yet
                return []
            raise

    def _events(self, stream: str) -> Iterator[Mapping[str, Any]]:
        members = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
        while True:
            token = self._tokens.get(stream)
            page = self._logs.get_log_events(**members, **({"nextToken": token} if token else {}))
            yield from page["events"]
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token or not page["events"]:  # the end, for now
                return


class TuningJob:
    """A tuning job and its training jobs."""

    def __init__(self, name: str, say: Say = say) -> None:
        self._name, self._say = name, say
        self._sagemaker = client("sagemaker")
        self._printed: dict[str, str] = {}
        self._description: Mapping[str, Any] = {}

    def poll(self) -> bool:
        """Print the training jobs that have changed; whether the tuning job is over."""
        members = {"HyperParameterTuningJobName": self._name}
        self._description = self._sagemaker.describe_hyper_parameter_tuning_job(**members)
        pages = self._sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(**members)
        jobs = [job for page in pages for job in page["TrainingJobSummaries"]]
        for job in sorted(jobs, key=lambda job: (job["CreationTime"], job["TrainingJobName"])):
            self._print_job(job)
        return self._description["HyperParameterTuningJobStatus"] in _OVER

    @property
    def state(self) -> str:
        return str(self._description["HyperParameterTuningJobStatus"])

    def _print_job(self, job: Mapping[str, Any]) -> None:
        objective = job.get("FinalHyperParameterTuningJobObjectiveMetric")
        value = f"  {objective['MetricName']}={objective['Value']:.6g}" if objective else ""
        tuned = "  ".join(f"{name}={text}" for name, text in sorted(job["TunedHyperParameters"].items()))
        line = f"{job['TrainingJobName']}  {job['TrainingJobStatus']}{value}  {tuned}"
        if self._printed.get(job["TrainingJobName"]) != line:
            self._printed[job["TrainingJobName"]] = line
            self._say(line)

    def stop(self) -> None:
        self._sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=self._name)

    def print_summary(self) -> int:
        """Print the best job's hyperparameters, metrics and model; the exit code."""
        best = self._description.get("BestTrainingJob")
        described = best and self._sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
        for line in summarize_tuning(self._description, described):
            self._say(line)
        return exit_code(self._description)
