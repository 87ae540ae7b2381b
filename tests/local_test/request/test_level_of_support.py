"""The level of support: each member that is "acted on" is seen to have its effect, with a value of the test's own."""

import gzip
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from local_test.data.channels import Channel
from local_test.data.object_store import ObjectStore
from local_test.data.recordio import make_record
from local_test.errors import BadRequest, RunnerError
from local_test.experiments.entities import Experiments
from local_test.experiments.job_tracker import JobTracker
from local_test.hosts.opt_ml import config_files
from local_test.request.support import ACTED_ON
from local_test.runners.base import Container, ContainerSpec, Runner
from local_test.runners.process import ProcessRunner
from local_test.training.admission import Accepted, admit
from local_test.training.job import TrainingJob
from local_test.training.job_store import read_tags
from local_test.util.atomic_files import file_uri
from local_test.util.clock import now_utc
from tests.support.local_jobs import AnyRunner, request_for
from tests.support.programs import write_executable

SOURCE = "InputDataConfig.0.DataSource.S3DataSource"
AUGMENTED = {
    f"{SOURCE}.S3DataType": "AugmentedManifestFile",
    f"{SOURCE}.S3Uri": "FOLDER/lines",
    f"{SOURCE}.AttributeNames": ["x"],
    "InputDataConfig.0.RecordWrapperType": "RecordIO",
}
SPOT = {"EnableManagedSpotTraining": True}
GROUP = {
    "ResourceConfig": {
        "InstanceGroups": [{"InstanceType": "ml.c5.xlarge", "InstanceCount": 2, "InstanceGroupName": "workers"}],
        "VolumeSizeInGB": 1,
    },
    f"{SOURCE}.InstanceGroupNames": ["workers"],
}
MODEL_AND_DATA = """
(BASE / "model/1").mkdir()
(BASE / "model/1/weights").write_text("w")
(BASE / "model/latest").symlink_to("1/weights")
(BASE / "output/data/note").write_text("n")
"""
EXPERIMENT = {"ExperimentConfig.ExperimentName": "tests"}
PAUSE = "signal.alarm(2); signal.pause()"  # longer than the limits


class UnsteadyRunner(ProcessRunner):
    """Fails to start the first time."""

    failed = False

    def start(self, spec: ContainerSpec) -> Container:
        if not self.failed:
            self.failed = True
            raise RunnerError("not now")
        return super().start(spec)


class Job:
    """The request, with members changed, as the platform takes it."""

    def __init__(self, folder: Path, changes: Mapping[str, Any]) -> None:
        self.folder = folder
        self.request = request_for("job", folder / "jobs", {"train": folder / "data"})
        for path, value in json.loads(json.dumps(changes).replace("FOLDER", file_uri(folder))).items():
            _set(self.request, path.split("."), value)

    @cached_property
    def accepted(self) -> Accepted:
        return admit(self.request, self.folder / "jobs", ObjectStore(), AnyRunner(), {})

    @property
    def spec(self) -> ContainerSpec:
        return self.accepted.hosts[0].spec

    @property
    def channel(self) -> Channel:
        return self.accepted.hosts[0].channels[0]

    def names(self, host: int = 0) -> list[str]:
        return [item.name for item in self.accepted.hosts[host].channels[0].local_objects]

    def content(self) -> bytes:
        parts = self.channel.contents(0, ObjectStore())
        return b"".join(part.read_bytes() if isinstance(part, Path) else b"".join(part) for part in parts)

    def config(self, name: str) -> Any:
        host = self.accepted.hosts[0]
        return config_files(host.paths, self.accepted.request, host.channels, self.accepted.arn)[name]

    def refusal(self) -> str:
        return refusal_of(lambda: self.accepted)

    def make(self, runner: Runner | None = None) -> TrainingJob:
        return TrainingJob(self.request, self.folder / "jobs", runner or AnyRunner(), ObjectStore(), {}, grace=1)

    def run(self, code: str = "", kind: type[ProcessRunner] = ProcessRunner) -> dict[str, Any]:
        path = self.folder / "train.py"
        head = "import os, signal\nfrom pathlib import Path\nBASE = Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        write_executable(path, f"#!{sys.executable}\n{head}{code}")
        return self.make(kind(os.environ, self.folder, [str(path)])).run()

    def component(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The job's trial component, and the trials that it is part of."""
        experiments = Experiments(self.folder / "experiments", "us-east-1", now_utc)
        experiments.experiments.create({"ExperimentName": "tests"})
        experiments.create_trial({"TrialName": "mine", "ExperimentName": "tests"})
        JobTracker(experiments, self.request).on_transition(self.make().describe())
        name = "job-aws-training-job"
        return experiments.components.get(name), experiments.find_trials(name)


def refusal_of(call: Callable[[], object]) -> str:
    with pytest.raises(BadRequest) as caught:
        call()
    return str(caught.value)


def _set(place: Any, path: list[str], value: Any) -> None:
    for name in path[:-1]:
        place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
    place[path[-1]] = value


@dataclass(frozen=True)
class Row:
    """With these members, `effect` is `expected`."""

    changes: Mapping[str, Any]
    effect: Callable[[Job], Any]
    expected: Any


METRICS = Row(
    {"AlgorithmSpecification.MetricDefinitions": [{"Name": "loss", "Regex": "x=([0-9]+)"}]},
    lambda job: [(metric.name, metric.value) for metric in job.accepted.metrics.read("x=12", now_utc())],
    [("loss", 12)],
)
ROWS = {
    "TrainingJobName": Row({"TrainingJobName": "other"}, lambda job: job.accepted.folder.name, "other"),
    "HyperParameters": Row({"HyperParameters": {"a": "1"}}, lambda job: job.config("hyperparameters.json"), {"a": "1"}),
    "AlgorithmSpecification.TrainingImage": Row(
        {"AlgorithmSpecification.TrainingImage": "mine:1"}, lambda job: job.spec.image, "mine:1"
    ),
    "AlgorithmSpecification.TrainingInputMode": Row(
        {"AlgorithmSpecification.TrainingInputMode": "File"}, lambda job: job.channel.mode, "File"
    ),
    "AlgorithmSpecification.MetricDefinitions[].Name": METRICS,
    "AlgorithmSpecification.MetricDefinitions[].Regex": METRICS,
    "AlgorithmSpecification.ContainerEntrypoint[]": Row(
        {"AlgorithmSpecification.ContainerEntrypoint": ["sh"]}, lambda job: job.spec.entrypoint, ["sh"]
    ),
    "AlgorithmSpecification.ContainerArguments[]": Row(
        {"AlgorithmSpecification.ContainerArguments": ["-c"]}, lambda job: job.spec.arguments, ["-c"]
    ),
    "RoleArn": Row(
        {"RoleArn": "arn:aws:iam::123456789012:role/mine", f"{SOURCE}.S3Uri": "FOLDER/nowhere"},
        lambda job: 'that the role "arn:aws:iam::123456789012:role/mine" has' in job.refusal(),
        True,
    ),
    "InputDataConfig[].ChannelName": Row(
        {"InputDataConfig.0.ChannelName": "mine"}, lambda job: list(job.config("inputdataconfig.json")), ["mine"]
    ),
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": Row(
        {f"{SOURCE}.S3DataType": "ManifestFile", f"{SOURCE}.S3Uri": "FOLDER/manifest"},
        lambda job: job.names(),
        ["c", "a"],
    ),
    "InputDataConfig[].DataSource.S3DataSource.S3Uri": Row(
        {f"{SOURCE}.S3Uri": "FOLDER/data/b"}, lambda job: job.content(), b"0" * 10
    ),
    "InputDataConfig[].DataSource.S3DataSource.S3DataDistributionType": Row(
        {f"{SOURCE}.S3DataDistributionType": "ShardedByS3Key", "ResourceConfig.InstanceCount": 2},
        lambda job: (job.names(0), job.names(1)),
        (["a", "c"], ["b"]),
    ),
    "InputDataConfig[].DataSource.S3DataSource.AttributeNames[]": Row(
        AUGMENTED, lambda job: job.content(), make_record(b"1")
    ),
    "InputDataConfig[].DataSource.S3DataSource.InstanceGroupNames[]": Row(
        {f"{SOURCE}.InstanceGroupNames": ["others"]},
        lambda job: "no instance group has that name. Received: others" in job.refusal(),
        True,
    ),
    "InputDataConfig[].ContentType": Row(
        {"InputDataConfig.0.ContentType": "text/csv"},
        lambda job: job.config("inputdataconfig.json")["train"]["ContentType"],
        "text/csv",
    ),
    "InputDataConfig[].CompressionType": Row(
        {"InputDataConfig.0.CompressionType": "Gzip", f"{SOURCE}.S3Uri": "FOLDER/packed"},
        lambda job: job.content(),
        b"unpacked",
    ),
    "InputDataConfig[].RecordWrapperType": Row(
        {"InputDataConfig.0.RecordWrapperType": "RecordIO", f"{SOURCE}.S3Uri": "FOLDER/data/b"},
        lambda job: job.content(),
        make_record(b"0" * 10),
    ),
    "InputDataConfig[].InputMode": Row({"InputDataConfig.0.InputMode": "File"}, lambda job: job.channel.mode, "File"),
    "InputDataConfig[].ShuffleConfig.Seed": Row(
        {"InputDataConfig.0.ShuffleConfig": {"Seed": 3}},
        lambda job: len({tuple(item.name for item in job.channel.order(epoch)) for epoch in range(9)}) > 1,
        True,
    ),
    "OutputDataConfig.S3OutputPath": Row(
        {"OutputDataConfig.S3OutputPath": "FOLDER/out"},
        lambda job: job.run() and (job.folder / "out/job/output/model.tar.gz").exists(),
        True,
    ),
    "OutputDataConfig.CompressionType": Row(
        {"OutputDataConfig.CompressionType": "NONE", "OutputDataConfig.S3OutputPath": "FOLDER/out"},
        lambda job: (
            job.run(MODEL_AND_DATA)["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(file_uri(job.folder)),
            {str(path.relative_to(job.folder / "out")) for path in (job.folder / "out").rglob("*") if path.is_file()},
        ),
        (
            "/out/job/output/model/",
            {"job/output/model/1/weights", "job/output/model/latest", "job/output/data/note"},
        ),
    ),
    "ResourceConfig.InstanceType": Row(
        {"ResourceConfig.InstanceType": "ml.c5.xlarge"}, lambda job: job.spec.instance_type, "ml.c5.xlarge"
    ),
    "ResourceConfig.InstanceGroups[].InstanceType": Row(GROUP, lambda job: job.spec.instance_type, "ml.c5.xlarge"),
    "ResourceConfig.InstanceGroups[].InstanceCount": Row(GROUP, lambda job: len(job.accepted.hosts), 2),
    "ResourceConfig.InstanceGroups[].InstanceGroupName": Row(
        GROUP,
        lambda job: (
            job.config("resourceconfig.json")["current_group_name"],
            job.config("resourceconfig.json")["instance_groups"][0]["instance_group_name"],
        ),
        ("workers", "workers"),
    ),
    "ResourceConfig.InstanceCount": Row(
        {"ResourceConfig.InstanceCount": 2},
        lambda job: [host.paths.name for host in job.accepted.hosts],
        ["algo-1", "algo-2"],
    ),
    "StoppingCondition.MaxRuntimeInSeconds": Row(
        {"StoppingCondition.MaxRuntimeInSeconds": 1},
        lambda job: job.run(PAUSE)["SecondaryStatus"],
        "MaxRuntimeExceeded",
    ),
    "StoppingCondition.MaxWaitTimeInSeconds": Row(
        {**SPOT, "StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}},
        lambda job: job.run(PAUSE)["SecondaryStatus"],
        "MaxWaitTimeExceeded",
    ),
    "RetryStrategy": Row(
        {"RetryStrategy": {"MaximumRetryAttempts": 1}},
        lambda job: job.run(kind=UnsteadyRunner)["TrainingJobStatus"],
        "Completed",
    ),
    "EnableManagedSpotTraining": Row(
        SPOT, lambda job: "Only a job that trains" in refusal_of(job.make().interrupt), True
    ),
    "EnableNetworkIsolation": Row({"EnableNetworkIsolation": True}, lambda job: job.spec.network, False),
    "ExperimentConfig.ExperimentName": Row(
        EXPERIMENT, lambda job: [trial["ExperimentName"] for trial in job.component()[1]], ["tests"]
    ),
    "ExperimentConfig.TrialName": Row(
        {**EXPERIMENT, "ExperimentConfig.TrialName": "mine"},
        lambda job: [trial["TrialName"] for trial in job.component()[1]],
        ["mine"],
    ),
    "ExperimentConfig.TrialComponentDisplayName": Row(
        {**EXPERIMENT, "ExperimentConfig.TrialComponentDisplayName": "first"},
        lambda job: job.component()[0]["DisplayName"],
        "first",
    ),
    "CheckpointConfig.S3Uri": Row(
        {"CheckpointConfig": {"S3Uri": "FOLDER/kept"}},
        lambda job: job.run("(BASE / 'checkpoints/one').write_text('1')") and (job.folder / "kept/one").read_text(),
        "1",
    ),
    "CheckpointConfig.LocalPath": Row(
        {"CheckpointConfig": {"S3Uri": "FOLDER/kept", "LocalPath": "/mine"}},
        lambda job: list(job.spec.mounts.values()),
        ["/mine"],
    ),
    "TensorBoardOutputConfig.LocalPath": Row(
        {"TensorBoardOutputConfig": {"S3OutputPath": "FOLDER/boards", "LocalPath": "/mine"}},
        lambda job: list(job.spec.mounts.values()),
        ["/mine"],
    ),
    "TensorBoardOutputConfig.S3OutputPath": Row(
        {"TensorBoardOutputConfig": {"S3OutputPath": "FOLDER/boards"}},
        lambda job: (
            job.run("(BASE / 'output/tensorboard/events').write_text('e')")
            and (job.folder / "boards/job/tensorboard-output/events").read_text()
        ),
        "e",
    ),
    "Environment": Row({"Environment": {"A": "b"}}, lambda job: job.spec.environment["A"], "b"),
    "Tags": Row(
        {"Tags": [{"Key": "k", "Value": "v"}]},
        lambda job: read_tags(job.make().folder),
        [{"Key": "k", "Value": "v"}],
    ),
}


@pytest.fixture
def folder(tmp_path: Path, data: Path) -> Path:
    assert data.parent == tmp_path
    manifest = [{"prefix": f"{file_uri(data)}/"}, "c", "a"]
    (tmp_path / "manifest").write_text(json.dumps(manifest))
    (tmp_path / "lines").write_text('{"x": "1", "y": "2"}\n')
    (tmp_path / "packed").write_bytes(gzip.compress(b"unpacked"))
    return tmp_path


def test_every_member_that_is_acted_on_has_a_row() -> None:
    assert set(ROWS) == ACTED_ON


@pytest.mark.parametrize("member", ROWS)
def test_the_member_has_its_effect(member: str, folder: Path) -> None:
    row = ROWS[member]
    assert row.effect(Job(folder, row.changes)) == row.expected


@pytest.mark.parametrize("member", ROWS)
def test_without_the_member_there_is_no_such_effect(member: str, folder: Path) -> None:
    """An effect that any request has would prove nothing."""
    try:
        effect = ROWS[member].effect(Job(folder, {}))
    except (Exception, pytest.fail.Exception):
        return
    assert effect != ROWS[member].expected
