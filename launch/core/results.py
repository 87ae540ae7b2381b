"""Fetches what a job has left: its metrics by epoch, its model."""

import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from launch.core.errors import LaunchError
from launch.core.follow import LogLines
from launch.core.preflight import client
from launch.core.request import FOLDER


def read_metrics(job: str) -> dict[str, list[float]]:
    """Name → its values, one an epoch, from the first host's log: CloudWatch's own statistics are a minute wide."""
    return parse_metrics(line.partition("  ")[2] for line in LogLines(job).read_new() if line.startswith("algo-1  "))


def parse_metrics(lines: Iterable[str]) -> dict[str, list[float]]:
    """The same in log lines, by the definitions of launch/training_job.json."""
    job = json.loads((FOLDER / "training_job.json").read_text())
    definitions = job["AlgorithmSpecification"]["MetricDefinitions"]
    values: dict[str, list[float]] = {item["Name"]: [] for item in definitions}
    for line in lines:
        for item in definitions:
            if found := re.search(item["Regex"], line):
                values[item["Name"]].append(float(found[1]))
    return values


def fetch_model(job: str, folder: Path) -> Path:
    """Where the unpacked model.tar.gz of a training job is. LaunchError if the job has left none."""
    address = client("sagemaker").describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"]
    if not address:
        raise LaunchError(f"The job has left no model. Received: {job}. Has it completed?")
    place = urlsplit(address)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "model.tar.gz"
    client("s3").download_file(place.netloc, place.path.lstrip("/"), str(archive))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def list_tuned_jobs(job: str) -> list[Mapping[str, object]]:
    """The training jobs of a tuning job, the oldest first: name, status, objective if there is one, and the tuned
    hyperparameters as text."""
    pages = client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    jobs = [one for page in pages.paginate(HyperParameterTuningJobName=job) for one in page["TrainingJobSummaries"]]
    return [
        {
            "name": one["TrainingJobName"],
            "status": one["TrainingJobStatus"],
            "objective": one.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
            **one["TunedHyperParameters"],
        }
        for one in sorted(jobs, key=lambda one: (one["CreationTime"], one["TrainingJobName"]))
    ]
