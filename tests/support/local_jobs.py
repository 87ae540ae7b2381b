"""Requests of local jobs, and an observer that waits for what they do."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_test.runners.base import ContainerSpec, Runner
from local_test.training.observer import Observer
from local_test.util.atomic_files import file_uri
from tests.support.small_image import IMAGE


class Recorder(Observer):
    """What a job has told, and an event for each thing a test waits for."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.fed: list[Any] = []
        self.changed = threading.Condition()

    def on_transition(self, description: dict[str, Any]) -> None:
        self._add(self.states, description["SecondaryStatus"])

    def on_line(self, line: str, host: str) -> None:
        self._add(self.lines, line if host == "algo-1" else f"{host}: {line}")

    def on_note(self, text: str) -> None:
        self._add(self.notes, text)

    def on_feed(self, fed: Any) -> None:
        self._add(self.fed, fed)

    def wait_for(self, found: Callable[[], Any], seconds: float = 100) -> None:
        with self.changed:
            assert self.changed.wait_for(found, seconds), (self.states, self.lines, self.notes)

    def _add(self, to: list[Any], item: Any) -> None:
        with self.changed:
            to.append(item)
            self.changed.notify_all()


class AnyRunner(Runner):
    """Accepts what any runner would."""

    def check(self, spec: ContainerSpec) -> None:
        pass

    def unmet_limits(self, spec: ContainerSpec) -> list[str]:  # noqa: ARG002 - a Runner
        return []


def request_for(name: str, out: Path, channels: Mapping[str, Path] | None = None, **members: Any) -> dict[str, Any]:
    """A small valid request over local folders; `members` replace its own."""
    inputs = [
        {"ChannelName": key, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": file_uri(path)}}}
        for key, path in (channels or {}).items()
    ]
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Pipe"},
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        **({"InputDataConfig": inputs} if inputs else {}),
        "OutputDataConfig": {"S3OutputPath": file_uri(out)},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        **members,
    }


def prepared_data_request() -> dict[str, Any]:
    """A job file with placeholders: the three channels of prepared data over FIFOs."""
    return {
        "TrainingJobName": "<name>",
        "AlgorithmSpecification": {"TrainingImage": "<image>", "TrainingInputMode": "Pipe"},
        "RoleArn": "<role>",
        "InputDataConfig": [
            _channel("train", "train/"),
            _channel("validation", "validation/"),
            {**_channel("dataset", "dataset.json"), "InputMode": "File"},
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://<bucket>/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "CheckpointConfig": {"S3Uri": "s3://<bucket>/checkpoints"},
    }


def _channel(name: str, key: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://<bucket>/data/{key}"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}
