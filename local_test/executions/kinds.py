"""How a step of each type does its work: create what it makes, look at it, stop it. By operations that clients call."""

import json
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from local_test.errors import LocalTestError
from local_test.executions.record import ExecutionRecord, StepRecord
from local_test.executions.services import ServiceError, Services
from local_test.pipelines.definition import Parameter, Step
from local_test.pipelines.parameters import parse_value
from local_test.pipelines.step_types import OUTPUT_PARAMETERS
from local_test.training.job_store import PIPELINE_TAG
from local_test.tuning.warm_start import FINAL_OBJECTIVE

STEP_TAG = "sagemaker:pipeline-step-name"  # the service gives both tags to what a step makes
_LETTERS = string.ascii_letters + string.digits
_SUFFIX = 10  # characters that tell attempts apart, as on the service; and those of a callback token
_NAME, _TUNING_NAME = 63, 32  # characters of a job's name
_TOP_JOBS = 50  # of a tuning job's training jobs, which a property can name
_MISSING = ("ResourceNotFound", "ValidationException")


@dataclass(frozen=True)
class Progress:
    """Where a step is. `status`: Executing, Succeeded, Failed or Stopped."""

    status: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class StepContext:
    """A step of one execution, and what is known of it."""

    execution: ExecutionRecord
    step: Step
    record: StepRecord
    services: Services


class StepKind(Protocol):
    """One type of step. LocalTestError where an operation is refused."""

    def identify(self, execution: ExecutionRecord, step: Step, request: Mapping[str, Any]) -> str:
        """The name of what the step will make, or a token of its own; another one for every attempt."""

    def find(self, context: StepContext) -> bool:
        """Whether it is there already, made by a server that was killed before it could write that down."""

    def create(self, context: StepContext, request: dict[str, Any]) -> None:
        """Makes it; its ARN and its metadata go into the record."""

    def look(self, context: StepContext) -> Progress: ...

    def stop(self, context: StepContext) -> None:
        """Asks it to end. It may be over."""


def random_text() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_SUFFIX))


def _fit(longest: int, before: str, name: str) -> str:
    """`<before><name>-<random>`, the name as it may stand in a job's name, cut to fit. In small letters, as in ARNs:
    from them clients take the name of a step's job."""
    room = longest - len(before) - _SUFFIX - 1
    return f"{before}{re.sub('[^A-Za-z0-9-]', '-', name)[:room].strip('-')}-{random_text()}".lower()


class JobStepKind:
    """Training, processing and tuning jobs."""

    def __init__(self, what: str, metadata: str, *, experiment: bool = True) -> None:
        self._what, self._metadata, self._experiment = what, metadata, experiment
        self._name, self._arn, self._status = f"{what}Name", f"{what}Arn", f"{what}Status"

    def identify(self, execution: ExecutionRecord, step: Step, request: Mapping[str, Any]) -> str:
        """As the service names jobs; a name in the arguments is a prefix (use_custom_job_prefix of the SDKs)."""
        prefix = request.get(self._name)
        if self._what == "HyperParameterTuningJob":
            return _fit(_TUNING_NAME, f"{execution.id}-", prefix or step.name)
        return (
            _fit(_NAME, "", f"{prefix}-{execution.id}")
            if prefix
            else _fit(_NAME, f"pipelines-{execution.id}-", step.name)
        )

    def find(self, context: StepContext) -> bool:
        return _is_there(lambda: self._describe(context))

    def _describe(self, context: StepContext) -> dict[str, Any]:
        found = context.services.call(f"Describe{self._what}", {self._name: context.record.identity})
        self._note_arn(context, found[self._arn])
        return found

    def _note_arn(self, context: StepContext, arn: str) -> None:
        context.record.arn, context.record.metadata = arn, {self._metadata: {"Arn": arn}}

    def create(self, context: StepContext, request: dict[str, Any]) -> None:
        request |= {self._name: context.record.identity, "Tags": _tags(context, request)}
        if context.execution.experiment and self._experiment:
            request.setdefault("ExperimentConfig", dict(context.execution.experiment))
        self._note_arn(context, context.services.call(f"Create{self._what}", request)[self._arn])

    def look(self, context: StepContext) -> Progress:
        found = self._describe(context)
        status = {"Completed": "Succeeded", "Failed": "Failed", "Stopped": "Stopped"}.get(
            found[self._status], "Executing"
        )
        return Progress(status, found, found.get("FailureReason", "") if status != "Succeeded" else "")

    def stop(self, context: StepContext) -> None:
        with suppress(LocalTestError):
            context.services.call(f"Stop{self._what}", {self._name: context.record.identity})


class TuningStepKind(JobStepKind):
    """A tuning job's properties also name its training jobs, the best first; all of them are part of the trial."""

    def look(self, context: StepContext) -> Progress:
        progress = super().look(context)
        if context.execution.experiment:
            self._associate(context, context.execution.experiment["TrialName"])
        if progress.status != "Succeeded":
            return progress
        return Progress(
            progress.status, {**progress.outputs, "TrainingJobSummaries": self._list_best(context, progress)}
        )

    def _list(self, context: StepContext, **order: str) -> list[dict[str, Any]]:
        """Of all pages."""
        found: list[dict[str, Any]] = []
        request: dict[str, Any] = {self._name: context.record.identity, "MaxResults": 100, **order}
        while True:
            answer = context.services.call(f"ListTrainingJobsFor{self._what}", request)
            found += answer["TrainingJobSummaries"]
            if "NextToken" not in answer:
                return found
            request["NextToken"] = answer["NextToken"]

    def _list_best(self, context: StepContext, progress: Progress) -> list[dict[str, Any]]:
        """Of equal ones the first is that which BestTrainingJob names."""
        best = progress.outputs.get("BestTrainingJob", {})
        kind = best.get(FINAL_OBJECTIVE, {}).get("Type")
        order = "Ascending" if kind == "Minimize" else "Descending"
        found = self._list(context, SortBy="FinalObjectiveMetricValue", SortOrder=order)
        found.sort(key=lambda child: child["TrainingJobName"] != best.get("TrainingJobName"))
        return found[:_TOP_JOBS]

    def _associate(self, context: StepContext, trial: str) -> None:
        for child in self._list(context):
            name = f"{child['TrainingJobName']}-aws-training-job"
            if name not in context.record.children:
                with suppress(LocalTestError):  # it is not there yet, or a client has deleted it
                    request = {"TrialComponentName": name, "TrialName": trial}
                    context.services.call("AssociateTrialComponent", request)
                    context.record.children = [*context.record.children, name]


class ModelStepKind:
    """CreateModel, which the registry of this platform stores."""

    def identify(self, execution: ExecutionRecord, step: Step, request: Mapping[str, Any]) -> str:
        return _fit(_NAME, f"pipelines-{execution.id}-", request.get("ModelName") or step.name)

    def find(self, context: StepContext) -> bool:
        return _is_there(lambda: self._describe(context))

    def _describe(self, context: StepContext) -> dict[str, Any]:
        return context.services.call("DescribeModel", {"ModelName": context.record.identity})

    def create(self, context: StepContext, request: dict[str, Any]) -> None:
        request |= {"ModelName": context.record.identity, "Tags": _tags(context, request)}
        context.services.call("CreateModel", request)

    def look(self, context: StepContext) -> Progress:
        found = self._describe(context)
        context.record.arn, context.record.metadata = found["ModelArn"], {"Model": {"Arn": found["ModelArn"]}}
        return Progress("Succeeded", found)

    def stop(self, context: StepContext) -> None:
        """It takes no time."""


class RegisterModelStepKind:
    """CreateModelPackage; its group is made if there is none, as the service does."""

    def identify(self, execution: ExecutionRecord, step: Step, request: Mapping[str, Any]) -> str:  # noqa: ARG002
        """A ClientToken: who asks again with it gets the package that was made."""
        return f"{execution.id}-{random_text()}-{random_text()}"

    def find(self, context: StepContext) -> bool:  # noqa: ARG002 - a StepKind
        return False

    def create(self, context: StepContext, request: dict[str, Any]) -> None:
        if group := request.get("ModelPackageGroupName"):
            self._make_group(context, group)
        found = context.services.call("CreateModelPackage", {**request, "ClientToken": context.record.identity})
        arn = context.record.arn = found["ModelPackageArn"]
        context.record.metadata = {"RegisterModel": {"Arn": arn}}

    def _make_group(self, context: StepContext, group: str) -> None:
        name = {"ModelPackageGroupName": group.rpartition("/")[2]}
        if not _is_there(lambda: context.services.call("DescribeModelPackageGroup", name)):
            with suppress(ServiceError):  # another execution was faster
                context.services.call("CreateModelPackageGroup", {**name, "Tags": _tags(context, {})})

    def look(self, context: StepContext) -> Progress:
        found = context.services.call("DescribeModelPackage", {"ModelPackageName": context.record.arn})
        return Progress("Succeeded", found)

    def stop(self, context: StepContext) -> None:
        """It takes no time."""


class CallbackStepKind:
    """A message to a queue, and the wait for SendPipelineExecutionStepSuccess or -Failure."""

    def identify(self, execution: ExecutionRecord, step: Step, request: Mapping[str, Any]) -> str:  # noqa: ARG002
        return random_text()

    def find(self, context: StepContext) -> bool:
        """Whether it was answered. A message that comes twice has the same token."""
        return context.record.answer is not None

    def create(self, context: StepContext, request: dict[str, Any]) -> None:
        queue, record = request.pop("SqsQueueUrl"), context.record
        record.metadata = {"Callback": {"CallbackToken": record.identity, "SqsQueueUrl": queue}}
        self._send(context, {"arguments": request, "status": "Executing"})

    def _send(self, context: StepContext, body: Mapping[str, Any]) -> None:
        """The members that programs read: token, arguments, status."""
        message = {
            "token": context.record.identity,
            "pipelineExecutionArn": context.execution.arn,
            "stepName": context.step.name,
            **body,
        }
        context.services.send(context.record.metadata["Callback"]["SqsQueueUrl"], json.dumps(message))

    def look(self, context: StepContext) -> Progress:
        answer = context.record.answer
        if answer is None:
            return Progress("Executing")
        if "FailureReason" in answer:
            return Progress("Failed", failure=answer["FailureReason"])
        outputs = answer["OutputParameters"]
        callback = {**context.record.metadata["Callback"], "OutputParameters": outputs}
        context.record.metadata = {"Callback": callback}
        return Progress("Succeeded", {OUTPUT_PARAMETERS: read_outputs(context.step, outputs)})

    def stop(self, context: StepContext) -> None:
        """Whoever works for it is told, and the execution waits for the answer, as on the service."""
        with suppress(LocalTestError):
            self._send(context, {"status": "Stopping"})


def _is_there(describe: Callable[[], object]) -> bool:
    try:
        describe()
    except ServiceError as error:
        if error.code in _MISSING:
            return False
        raise
    return True


def read_outputs(step: Step, outputs: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What a callback step was answered, each value of the type that the step declares. BadRequest for one that isn't
    of it."""
    declared = {
        one["OutputName"]: Parameter(one["OutputName"], one["OutputType"]) for one in step.members[OUTPUT_PARAMETERS]
    }
    found: dict[str, Any] = {item["Name"]: item["Value"] for item in outputs}
    return {name: parse_value(declared[name], text) if name in declared else text for name, text in found.items()}


def _tags(context: StepContext, request: Mapping[str, Any]) -> list[dict[str, str]]:
    own = {PIPELINE_TAG: context.execution.arn, STEP_TAG: context.step.name}
    others = [tag for tag in request.get("Tags", []) if tag["Key"] not in own]
    return [*others, *({"Key": key, "Value": value} for key, value in own.items())]


KINDS: Mapping[str, StepKind] = {
    "Training": JobStepKind("TrainingJob", "TrainingJob"),
    "Processing": JobStepKind("ProcessingJob", "ProcessingJob"),
    "Tuning": TuningStepKind("HyperParameterTuningJob", "TuningJob", experiment=False),
    "Model": ModelStepKind(),
    "RegisterModel": RegisterModelStepKind(),
    "Callback": CallbackStepKind(),
}
