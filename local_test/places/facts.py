"""What is told of a job: a few words, an object for programs, facts for a person."""

from collections.abc import Iterator, Mapping
from typing import Any

from local_test.places.base import Description, Job
from local_test.places.finder import format_command
from local_test.request.job_kind import TUNING
from local_test.util.clock import now_utc
from local_test.util.console import format_seconds

Fact = tuple[str, str]


def format_status(job: Job) -> str:
    return job.status if job.state == job.status else f"{job.status} ({job.state})"


def format_metric(job: Job) -> str:
    return f"{job.metric[0]}={job.metric[1]:g}" if job.metric else ""


def summarize(job: Job) -> dict[str, Any]:
    """As `jobs --json` prints it."""
    metric = job.metric
    return {
        "kind": job.kind.word,
        "name": job.name,
        "arn": job.kind.arn_of(job.description),
        "status": job.status,
        "secondary_status": job.state,
        "created": job.description["CreationTime"],
        "seconds": round(job.seconds(now_utc()), 3),
        "metric": {"name": metric[0], "value": metric[1]} if metric else None,
        "failure_reason": job.description.get("FailureReason"),
        "options": list(job.place.options),
    }


def list_facts(job: Job) -> Iterator[Fact]:
    """(name, text) of what there is to tell."""
    return ((name, text) for name, text in _facts(job) if text)


def _facts(job: Job) -> Iterator[Fact]:
    found = job.description
    yield job.kind.noun, job.name
    yield "status", format_status(job)
    yield "reason", found.get("FailureReason", "")
    yield "exit message", found.get("ExitMessage", "")
    yield "in", str(job.place)
    yield "created", f"{found['CreationTime'].astimezone():%Y-%m-%d %H:%M:%S}"
    yield "duration", format_seconds(job.seconds(now_utc()))
    yield from _tuning_facts(found) if job.kind is TUNING else _program_facts(job)
    yield "metrics", format_metrics(found) or format_metric(job)
    yield "model", found.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    for step in found.get("SecondaryStatusTransitions", []):
        text = f"{step['Status']}: {step.get('StatusMessage', '')}"
        yield f"{step['StartTime'].astimezone():%H:%M:%S}", text.rstrip(": ")
    if job.is_over and job.kind is not TUNING:
        yield "log", format_command(job, "logs")
    else:
        yield "follow", format_command(job, "attach")
    if not job.is_over:
        yield "stop", format_command(job, "stop")


def _program_facts(job: Job) -> Iterator[Fact]:
    found = job.description
    program = found.get("AlgorithmSpecification") or found.get("AppSpecification", {})
    yield "image", program.get("TrainingImage") or program.get("ImageUri", "")
    for group in job.groups:
        yield "instances", f"{group.get('InstanceCount', 1)} × {group.get('InstanceType', '')}"
    yield "hyperparameters", _pairs(found.get("HyperParameters", {}))
    for channel in found.get("InputDataConfig", []):
        mode = channel.get("InputMode") or program.get("TrainingInputMode", "")
        uri = channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
        yield f"channel {channel['ChannelName']}", f"{uri} ({mode})"
    yield "program", " ".join([*program.get("ContainerEntrypoint", ()), *program.get("ContainerArguments", ())])
    for item in found.get("ProcessingInputs", []):
        yield f"input {item['InputName']}", item.get("S3Input", {}).get("S3Uri", "")
    for item in found.get("ProcessingOutputConfig", {}).get("Outputs", []):
        yield f"output {item['OutputName']}", item.get("S3Output", {}).get("S3Uri", "")


def _tuning_facts(found: Description) -> Iterator[Fact]:
    yield "strategy", found["HyperParameterTuningJobConfig"]["Strategy"]
    counters = found.get("TrainingJobStatusCounters", {})
    yield "training jobs", _pairs({name: str(number) for name, number in counters.items() if number})
    if best := found.get("BestTrainingJob"):
        yield "best", best["TrainingJobName"]
        yield "its values", _pairs(best["TunedHyperParameters"])


def format_metrics(found: Description) -> str:
    """The last value of each."""
    return _pairs({item["MetricName"]: f"{item['Value']:g}" for item in found.get("FinalMetricDataList", [])})


def _pairs(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name}={text}" for name, text in values.items())
