"""An execution over services that do what a test says: retries, kills at every write, a full disk."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from local_test.executions.execution import Execution
from local_test.executions.record import ExecutionFolder, ExecutionRecord
from local_test.executions.services import ServiceError
from local_test.pipelines.checks import read_checked
from tests.support.executions import condition_step, definition, equals, get, register_step, train_step
from tests.support.served import until

ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/abcdefabcdef"
INTERNAL = "InternalServerError: the engine is gone"


class Killed(BaseException):
    pass


class FakeServices:
    """`outcomes`: the FailureReason of each training job in turn, empty for one that completes, and so are all after
    the last. A job runs for one look. `refuse`: how often a creation is refused with `code`."""

    def __init__(self, *outcomes: str, refuse: int = 0, code: str = "") -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.packages: dict[str, str] = {}
        self._outcomes, self._refuse, self._code = list(outcomes), refuse, code
        self.calls: list[str] = []
        self.on_call: Callable[[str], None] = lambda _: None

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(operation)
        answer: dict[str, Any] = getattr(self, operation)(request)
        self.on_call(operation)
        return answer

    def CreateTrainingJob(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        if self._refuse:
            self._refuse -= 1
            raise ServiceError(self._code, "no")
        name = request["TrainingJobName"]
        assert name not in self.jobs
        reason = self._outcomes.pop(0) if self._outcomes else ""
        self.jobs[name] = {"TrainingJobArn": f"arn/{name}", "TrainingJobStatus": "InProgress", "reason": reason}
        return {"TrainingJobArn": f"arn/{name}"}

    def DescribeTrainingJob(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self.jobs.get(request["TrainingJobName"])
        if job is None:
            raise ServiceError("ValidationException", "Requested resource not found.")
        found = {key: value for key, value in job.items() if key != "reason"}
        job["TrainingJobStatus"] = "Failed" if job["reason"] else "Completed"
        job["FailureReason"] = job["reason"]
        return found

    def StopTrainingJob(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.jobs[request["TrainingJobName"]]["TrainingJobStatus"] = "Stopped"
        return {}

    def DescribeModelPackageGroup(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802, ARG002
        return {}

    def CreateModelPackage(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"ModelPackageArn": self.packages.setdefault(request["ClientToken"], f"package/{len(self.packages)}")}

    def DescribeModelPackage(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"ModelPackageArn": request["ModelPackageName"]}

    def read(self, uri: str, most: int) -> bytes:  # noqa: ARG002
        raise AssertionError(uri)

    def send(self, queue_url: str, body: str) -> None:
        raise AssertionError(queue_url, body)

    def keep_data(self) -> None: ...


class KilledFolder(ExecutionFolder):
    """The server is killed before or after write number `kill`."""

    def __init__(self, path: Path, kill: int = -1, after: bool = False) -> None:
        super().__init__(path)
        self.saves, self._kill, self._after = 0, kill, after

    def save(self, record: ExecutionRecord) -> None:
        self.saves += 1
        if self.saves == self._kill and not self._after:
            raise Killed
        super().save(record)
        if self.saves == self._kill:
            raise Killed


def new_record() -> ExecutionRecord:
    return ExecutionRecord(
        id="abcdefabcdef", arn=ARN, pipeline="p", pipeline_arn=ARN.partition("/execution")[0], display_name="d",
        description="", created=1.0, modified=1.0, parameters={}, given={}, token="t",
    )  # fmt: skip


def new_execution(
    folder: ExecutionFolder, services: FakeServices, steps: list[dict[str, Any]], record: ExecutionRecord | None = None
) -> Execution:

    wanted = read_checked(json.dumps(definition(steps)))
    return Execution(record or new_record(), folder, wanted, services, lambda *_: None)


def run(folder: ExecutionFolder, services: FakeServices, steps: list[dict[str, Any]], **members: Any) -> Execution:
    execution = new_execution(folder, services, steps, **members)
    execution.start()
    assert execution.thread
    execution.thread.join(100)
    assert execution.record.is_over
    return execution


def policy(kind: str, attempts: int) -> list[dict[str, Any]]:
    return [{"ExceptionType": [kind], "IntervalSeconds": 0, "BackoffRate": 1.0, "MaxAttempts": attempts}]


@pytest.mark.parametrize(("attempts", "status"), [(2, "Succeeded"), (1, "Failed")])
def test_a_step_is_tried_again_as_its_policy_says(tmp_path: Path, attempts: int, status: str) -> None:
    services = FakeServices(INTERNAL, INTERNAL, "")
    step = train_step("A", RetryPolicies=policy("SageMaker.JOB_INTERNAL_ERROR", attempts))
    record = run(ExecutionFolder(tmp_path), services, [step]).record
    assert (record.status, record.steps["A"].attempt) == (status, attempts + 1)
    assert len(services.jobs) == attempts + 1  # each with a name of its own
    if status == "Failed":
        assert record.steps["A"].failure == f"ClientError: {INTERNAL}"


def test_what_no_policy_is_for_fails_at_once(tmp_path: Path) -> None:
    services = FakeServices("AlgorithmError: broken", "")
    step = train_step("A", RetryPolicies=policy("SageMaker.JOB_INTERNAL_ERROR", 5))
    record = run(ExecutionFolder(tmp_path), services, [step]).record
    assert (record.status, record.steps["A"].failure) == ("Failed", "ClientError: AlgorithmError: broken")
    assert record.failure == "Step failure: One or multiple steps failed."


def test_a_refused_creation_is_a_retry_policys_or_the_end(tmp_path: Path) -> None:
    step = train_step("A", RetryPolicies=policy("SageMaker.RESOURCE_LIMIT", 1))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    again = run(ExecutionFolder(tmp_path / "one"), FakeServices(refuse=1, code="ResourceLimitExceeded"), [step])
    assert (again.record.status, again.record.steps["A"].attempt) == ("Succeeded", 2)
    failed = run(
        ExecutionFolder(tmp_path / "two"), FakeServices(refuse=1, code="ResourceLimitExceeded"), [train_step("A")]
    )
    assert failed.record.steps["A"].failure == (  # the service's words
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: no\n"
        f"Retry not appropriate on execution of step with PipelineExecutionArn {ARN.lower()} and StepId A. "
        "No retry policy configured for the exception type SAGEMAKER_RESOURCE_LIMIT."
    )


STEPS = [
    train_step("A"),
    train_step("B", DependsOn=["A"], RetryPolicies=policy("SageMaker.JOB_INTERNAL_ERROR", 2)),
    condition_step("C", [equals(get("Steps.A.TrainingJobStatus"), "Completed")], [register_step("D", "g", "s3://b/m")]),
    train_step("E", DependsOn=["B", "C"]),
]


def test_wherever_it_is_killed_each_job_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every write, before it and after it; and once more in the run that goes on."""
    for name in ("_SHORTEST", "_LONGEST"):
        monkeypatch.setattr(f"local_test.executions.execution.{name}", 0.001)

    def attempt(name: str, kill: int, after: bool) -> int:
        services, folder = FakeServices("", INTERNAL, ""), tmp_path / name
        folder.mkdir()
        first = KilledFolder(folder, kill, after)
        record = new_record()
        ExecutionFolder(folder).save(record)
        while True:
            execution = new_execution(first, services, STEPS, record)
            try:
                execution._run()
            except Killed:
                record, first = ExecutionFolder(folder).load(), KilledFolder(folder, kill, after)
                kill += 3  # so that it comes to an end
                continue
            break
        record = ExecutionFolder(folder).load()
        assert record.status == "Succeeded", (name, record)
        assert {step.status for step in record.steps.values()} == {"Succeeded"}
        assert (record.steps["B"].attempt, len(services.jobs), len(services.packages)) == (2, 4, 1), name
        assert {record.steps[step].identity for step in "ABE"} <= set(services.jobs)
        return first.saves

    count = attempt("quiet", -1, False)
    assert count > 12
    for kill in range(1, count + 1):
        for after in (False, True):
            attempt(f"{kill}-{after}", kill, after)


def test_a_full_disk_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing happens that is not on disk."""
    services, folder = FakeServices(), ExecutionFolder(tmp_path)
    blocked = tmp_path / "execution.json"  # a folder of that name takes no file's place
    blocked.mkdir()
    execution = new_execution(folder, services, [train_step("A")])
    execution.start()
    said: list[str] = []
    until(lambda: said.append(capsys.readouterr().err) or "can't be kept" in "".join(said))
    assert services.jobs == {}
    with pytest.raises(Exception, match="can't be kept"):
        execution.change(description="new")
    blocked.rmdir()
    assert execution.thread
    execution.thread.join(100)
    assert folder.load().status == "Succeeded"
    assert "".join(said).count("can't be kept") == 1


def test_a_stop_that_comes_while_a_step_begins(tmp_path: Path) -> None:
    services, folder = FakeServices(), ExecutionFolder(tmp_path)
    execution = new_execution(folder, services, [train_step("A"), train_step("B", DependsOn=["A"])])
    services.on_call = lambda operation: execution.stop() if operation == "CreateTrainingJob" else None
    execution.start()
    assert execution.thread
    execution.thread.join(100)
    assert folder.load().status == "Stopped"
    assert "StopTrainingJob" in services.calls
    assert len(services.jobs) == 1


def test_many_layers_of_branches_that_are_not_taken(tmp_path: Path) -> None:
    """Each step depends on all of the layer before: paths through the graph are too many to be walked."""
    inner = [train_step(f"L0-{place}") for place in range(3)]
    wanted = [condition_step("C", [equals(1, 2)], inner, [train_step("Taken")])]
    for layer in range(1, 30):
        before = [f"L{layer - 1}-{place}" for place in range(3)]
        wanted += [train_step(f"L{layer}-{place}", DependsOn=before) for place in range(3)]
    record = run(ExecutionFolder(tmp_path), FakeServices(), wanted).record
    assert (record.status, list(record.steps)) == ("Succeeded", ["C", "Taken"])
