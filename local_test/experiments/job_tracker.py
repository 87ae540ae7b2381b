"""A job → the trial component that the service makes for it: <job>-aws-training-job, <job>-aws-processing-job."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from local_test.errors import BadRequest, LocalTestError
from local_test.experiments.entities import Experiments
from local_test.experiments.metric_store import MetricPoint
from local_test.request.job_kind import PROCESSING, JobKind, kind_of
from local_test.training.job_status import FINAL_STATUSES
from local_test.training.metrics import Metric
from local_test.training.observer import Observer
from local_test.util.console import warn_on_stderr
from local_test.util.numbers import number

_TEXT = 2500  # characters of a parameter's StringValue


def check(request: Mapping[str, Any], experiments: Experiments) -> None:
    """ResourceNotFound or BadRequest if a job's ExperimentConfig names an experiment or trial that does not exist."""
    config = request.get("ExperimentConfig", {})
    if "ExperimentName" in config:
        experiments.experiments.get(config["ExperimentName"])
    elif "TrialName" in config:
        raise BadRequest("ExperimentConfig.TrialName needs ExperimentConfig.ExperimentName")
    if "TrialName" in config:
        owner = experiments.trials.get(config["TrialName"])["ExperimentName"]
        if owner.lower() != config["ExperimentName"].lower():
            raise BadRequest(
                f"Trial '{config['TrialName']}' is not part of the experiment. "
                f"Received: {config['ExperimentName']}. Expected: {owner}"
            )


class JobTracker(Observer):
    """Keeps one job's component up to date. The first transition means that the job is accepted: then it is created.
    `again`: the job was accepted by an earlier server."""

    def __init__(self, experiments: Experiments, request: Mapping[str, Any], *, again: bool = False) -> None:
        if not again:
            check(request, experiments)
        self._experiments, self._request = experiments, request
        self._kind, self._name = kind_of(request), kind_of(request).component_of(request)
        self._created = again and experiments.components.has(self._name)

    def on_transition(self, description: dict[str, Any]) -> None:
        with self._tolerate_errors():
            if self._created:
                update(self._experiments, description)
            else:
                self._created = True
                self._create_component(description)

    def on_metric(self, metric: Metric) -> None:
        with self._tolerate_errors():
            point = MetricPoint(metric.name, metric.timestamp, metric.value, metric.index)
            self._experiments.metric_store(self._name).add([point])

    @contextmanager
    def _tolerate_errors(self) -> Iterator[None]:
        """The job goes on if its component can't be written: a client may delete it at any time."""
        try:
            yield
        except (LocalTestError, OSError) as error:
            warn_on_stderr(f"the trial component {self._name} is not kept: {error}")

    def _create_component(self, description: Mapping[str, Any]) -> None:
        config = self._request.get("ExperimentConfig", {})
        members = {
            "TrialComponentName": self._name,
            "DisplayName": config.get("TrialComponentDisplayName", self._name),
            "Source": {"SourceArn": self._kind.arn_of(description), "SourceType": self._kind.source_type},
            "Parameters": dict(_parameters(self._request)),
            "InputArtifacts": dict(_inputs(self._request)),
            "OutputArtifacts": {},
            "Tags": self._request.get("Tags", []),
            **_state(description),
        }
        if self._experiments.components.has(self._name):  # of a job of that name that was deleted
            self._experiments.components.change(self._name, lambda entity: entity.update(members))
            self._experiments.metric_store(self._name).clear()
        else:
            self._experiments.components.create(members)
        if "ExperimentName" in config:
            self._experiments.associate(self._name, config.get("TrialName") or self._new_trial(config))

    def _new_trial(self, config: Mapping[str, str]) -> str:
        """As the service does where a job names only an experiment."""
        name = f"{self._kind.name_of(self._request)}-trial"
        members = {"TrialName": name, "ExperimentName": config["ExperimentName"]}
        if not self._experiments.trials.has(name):
            self._experiments.create_trial(members)
        return name


def update(experiments: Experiments, description: Mapping[str, Any]) -> None:
    """Writes the job's state into its component, if there is one."""
    name = kind_of(description).component_of(description)
    if experiments.components.has(name):
        experiments.components.change(name, lambda entity: entity.update(_state(description)))


def _state(description: Mapping[str, Any]) -> dict[str, Any]:
    """The component's members that change with the job."""
    kind = kind_of(description)
    status = kind.status_of(description)
    state: dict[str, Any] = {"Status": {"PrimaryStatus": status, "Message": _message(kind, status, description)[:1024]}}
    times = {f"{kind.running}{time}": time for time in ("StartTime", "EndTime")}
    state |= {ours: description[theirs] for theirs, ours in times.items() if theirs in description}
    if outputs := dict(_outputs(description)):
        state["OutputArtifacts"] = outputs
    return state


def _message(kind: JobKind, status: str, description: Mapping[str, Any]) -> str:
    """The service's words, which depend on the kind."""
    if kind is PROCESSING:
        reason, said = (description.get(name, "null") for name in ("FailureReason", "ExitMessage"))
        return f"Status: {status}, exit message: {said}, failure reason: {reason}"
    second, reason = description["SecondaryStatus"], description.get("FailureReason", "")
    return f"Status: {status}, secondary status: {second}, failure reason: {reason}."


def _outputs(description: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    if hook := description.get("DebugHookConfig"):
        yield "SageMaker.DebugHookOutput", {"Value": hook["S3OutputPath"]}
    if model := description.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        yield "SageMaker.ModelArtifact", {"Value": model}
    for output in description.get("ProcessingOutputConfig", {}).get("Outputs", []):
        yield output["OutputName"], {"Value": output["S3Output"]["S3Uri"]}


def sync_component(experiments: Experiments, description: Mapping[str, Any]) -> None:
    """Updates the component of a job that ended while no server watched it."""
    name = kind_of(description).component_of(description)
    status = kind_of(description).status_of(description)
    if status in FINAL_STATUSES and experiments.components.has(name):
        known = experiments.components.get(name).get("Status", {}).get("PrimaryStatus")
        if known != status:
            update(experiments, description)


def _parameters(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Hyperparameters and resources; a text that holds a number becomes a number."""
    if "AlgorithmSpecification" in request:  # of a training job it is a parameter, too
        yield "SageMaker.ImageUri", {"StringValue": request["AlgorithmSpecification"]["TrainingImage"]}
    resources = request.get("ResourceConfig") or request["ProcessingResources"]["ClusterConfig"]
    for name in ("InstanceCount", "InstanceType", "VolumeSizeInGB"):
        if name in resources:
            yield f"SageMaker.{name}", _value(str(resources[name]))
    for name, text in request.get("HyperParameters", {}).items():
        yield name, _value(text)


def _value(text: str) -> Mapping[str, Any]:
    value = number(text)
    return {"StringValue": text[:_TEXT]} if value is None or not math.isfinite(value) else {"NumberValue": value}


def _inputs(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    program = request.get("AppSpecification") or request["AlgorithmSpecification"]
    yield "SageMaker.ImageUri", {"Value": program.get("ImageUri") or program["TrainingImage"]}
    for item in request.get("ProcessingInputs", []):
        yield item["InputName"], {"Value": item["S3Input"]["S3Uri"]}
    for channel in request.get("InputDataConfig", []):
        media = {"MediaType": channel["ContentType"]} if "ContentType" in channel else {}
        yield channel["ChannelName"], {**media, "Value": channel["DataSource"]["S3DataSource"]["S3Uri"]}
