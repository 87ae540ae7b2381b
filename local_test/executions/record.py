"""What is known of an execution and of its steps, and the file that it is kept in.

A record belongs to its execution's thread. Others see the copy that its last write has published: what a client knows
is on disk.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest
from local_test.util.atomic_files import write_json, write_text

FINAL = ("Succeeded", "Failed", "Stopped")
STEP_FAILURE = "Step failure: One or multiple steps failed."  # the service's words
_STATE, _DEFINITION = "execution.json", "definition.json"


@dataclass
class StepRecord:
    """A step that was begun; times are epoch seconds.

    `identity`: the name of its job, or what else makes its creation idempotent, on disk before it is created.
    `outputs`: its properties, once it has succeeded. `key`: tells steps with the same arguments. `retries`: how often
    each retry policy, by its index, was followed.
    """

    name: str
    status: str
    start: float
    end: float | None = None
    attempt: int = 1
    identity: str = ""
    arn: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] | None = None
    failure: str = ""
    key: str = ""
    cached_from: str = ""
    selected_from: str = ""
    retries: dict[str, int] = field(default_factory=dict)
    retry_at: float | None = None
    answer: dict[str, Any] | None = None  # to a callback step
    children: list[str] = field(default_factory=list)  # training jobs of a tuning job that are in the trial

    @property
    def is_over(self) -> bool:
        return self.status in FINAL


@dataclass
class ExecutionRecord:
    """`parameters`: all of them; `given`: as the client gave them. `selected`: None: all steps are to run."""

    id: str
    arn: str
    pipeline: str
    pipeline_arn: str
    display_name: str
    description: str
    created: float
    modified: float
    parameters: dict[str, Any]
    given: dict[str, str]
    token: str
    version: int = 1  # of the pipeline
    role: str | None = None
    status: str = "Executing"
    failure: str = ""
    parallelism: int | None = None
    selected: list[str] | None = None
    source_arn: str | None = None
    experiment: dict[str, str] | None = None
    steps: dict[str, StepRecord] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)  # of the last stop or retry
    attempts: dict[str, int] = field(default_factory=dict)  # of steps that RetryPipelineExecution begins again

    @property
    def is_over(self) -> bool:
        return self.status in FINAL

    def describe(self) -> dict[str, Any]:
        """DescribePipelineExecution's answer."""
        selection: dict[str, Any] = {"SelectedSteps": [{"StepName": name} for name in self.selected or ()]}
        if self.source_arn:
            selection["SourcePipelineExecutionArn"] = self.source_arn
        members: dict[str, Any] = {
            "PipelineArn": self.pipeline_arn,
            "PipelineExecutionArn": self.arn,
            "PipelineExecutionDisplayName": self.display_name,
            "PipelineExecutionStatus": self.status,
            "PipelineExecutionDescription": self.description,
            "PipelineExperimentConfig": self.experiment,
            "FailureReason": self.failure,
            "CreationTime": to_time(self.created),
            "LastModifiedTime": to_time(self.modified),
            "CreatedBy": {},
            "LastModifiedBy": {},
            "ParallelismConfiguration": self.parallelism and {"MaxParallelExecutionSteps": self.parallelism},
            "SelectiveExecutionConfig": selection if self.selected else None,
            "PipelineVersionId": self.version,
            "RoleArn": self.role,
        }
        return {name: value for name, value in members.items() if value not in (None, "")}

    def list_parameters(self) -> list[dict[str, str]]:
        """Those that the execution was started with; defaults are the definition's."""
        return [{"Name": name, "Value": value} for name, value in self.given.items()]

    def summarize(self) -> dict[str, Any]:
        """An item of ListPipelineExecutions; a Fail step's message is not in it, as on the service."""
        members = self.describe()
        names = ("Arn", "Status", "Description", "DisplayName")
        found = {f"PipelineExecution{name}": members.get(f"PipelineExecution{name}") for name in names}
        failed = any(step.status == "Failed" for step in self.steps.values())
        found |= {
            "StartTime": members["CreationTime"],
            "PipelineExecutionFailureReason": STEP_FAILURE if self.failure and failed else self.failure,
        }
        return {name: value for name, value in found.items() if value not in (None, "")}


def describe_step(step: StepRecord, display_name: str, description: str) -> dict[str, Any]:
    """An item of ListPipelineExecutionSteps."""
    source = "SourcePipelineExecutionArn"
    members: dict[str, Any] = {
        "StepName": step.name,
        "StepDisplayName": display_name,
        "StepDescription": description,
        "StartTime": to_time(step.start),
        "EndTime": None if step.end is None else to_time(step.end),
        "StepStatus": step.status,
        "CacheHitResult": {source: step.cached_from} if step.cached_from else None,
        "SelectiveExecutionResult": {source: step.selected_from} if step.selected_from else None,
        "FailureReason": step.failure[:1024],
        "Metadata": step.metadata,
        "AttemptCount": step.attempt,
    }
    return {name: value for name, value in members.items() if value not in (None, "")}


def to_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class ExecutionFolder:
    """Where one execution is kept: its definition, and what is known of it. `publish` gets a copy of every record that
    was written."""

    def __init__(self, path: Path, publish: Callable[[ExecutionRecord], object] = lambda _: None) -> None:
        self.path, self._publish = path, publish

    def create(self, record: ExecutionRecord, definition: str) -> None:
        """OSError if it can't be written."""
        write_text(self.path / _DEFINITION, definition)
        self.save(record)

    def save(self, record: ExecutionRecord) -> None:
        members = asdict(record)
        write_json(self.path / _STATE, members)
        self._publish(parse_record(members))

    def load(self) -> ExecutionRecord:
        """One of DAMAGE if it can't be read."""
        return parse_record(json.loads((self.path / _STATE).read_text(encoding="utf-8")))

    def definition(self) -> str:
        """BadRequest if it can't be read."""
        try:
            return (self.path / _DEFINITION).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadRequest(f"The execution's definition can't be read: {error}") from None


def parse_record(members: Mapping[str, Any]) -> ExecutionRecord:
    """What asdict has made of one. TypeError for anything else."""
    steps = {name: StepRecord(**step) for name, step in members["steps"].items()}
    return ExecutionRecord(**{**members, "steps": steps})


def copy_step(step: StepRecord, now: float, *, cached_from: str = "", selected_from: str = "") -> StepRecord:
    """A step as another execution knows it that takes it over."""
    copied = StepRecord(step.name, "Succeeded", now, now, cached_from=cached_from, selected_from=selected_from)
    copied.arn, copied.metadata, copied.outputs = step.arn, step.metadata, step.outputs
    return copied
