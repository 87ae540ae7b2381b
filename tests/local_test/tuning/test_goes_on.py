"""A tuning job goes on where a server that was killed has left it: whenever that is, it ends as the undisturbed one."""

import copy
from typing import Any

import pytest

from local_test.tuning.job import TuningJob
from tests.support.tuning import ARN, NOW, FakeBackend, accuracy, tuning_request

GRID = {"CategoricalParameterRanges": [{"Name": "lr", "Values": ["0.1", "0.5", "0.3", "0.7", "0.2", "0.4"]}]}


class Killed(BaseException):
    pass


class Disk:
    """What a tuning job has saved; the server is killed before or after save number `kill`."""

    def __init__(self, kill: int = -1, after: bool = False) -> None:
        self.saves, self._kill, self._after = 0, kill, after
        self.left: Any = None

    def save(self, description: dict[str, Any], children: list[dict[str, Any]]) -> None:
        self.saves += 1
        if self.saves == self._kill and not self._after:
            raise Killed
        self.left = copy.deepcopy((description, children))
        if self.saves == self._kill:
            raise Killed


def run(backend: FakeBackend, request: dict[str, Any], disk: Disk, left: Any = None) -> dict[str, Any]:
    job = TuningJob(request, ARN, backend, "us-east-1", lambda: NOW, disk.save, left=left)
    backend.ended = job.on_job_end
    return job.run()


def tried(backend: FakeBackend) -> list[str]:
    return [request["HyperParameters"]["lr"] for request in backend.requests]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"Strategy": "Grid", "ParameterRanges": GRID},
        {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.5}},
    ],
    ids=["random", "grid", "target"],
)
def test_wherever_it_is_killed(config: dict[str, Any]) -> None:
    request = {**tuning_request(**config), "Tags": [{"Key": "k", "Value": "v"}]}
    quiet, whole = FakeBackend(accuracy), Disk()
    expected = run(quiet, request, whole)
    assert expected["HyperParameterTuningJobStatus"] == "Completed"
    assert all(made["Tags"] == request["Tags"] for made in quiet.requests)
    assert whole.saves > 8
    for kill in range(1, whole.saves + 1):
        for after in (False, True):
            backend, disk = FakeBackend(accuracy), Disk(kill, after)
            with pytest.raises(Killed):
                run(backend, request, disk)
            if disk.left is None:  # it was not accepted
                continue
            found = run(backend, request, Disk(), disk.left)
            where = (kill, after)
            assert found["HyperParameterTuningJobStatus"] == "Completed", where
            # the seed goes on; a job that was made but not yet written down had the same name, and is the same job
            assert tried(backend) == tried(quiet), where
            assert len(backend.jobs) == len(quiet.jobs), where
            best = "FinalHyperParameterTuningJobObjectiveMetric"
            assert found["BestTrainingJob"][best] == expected["BestTrainingJob"][best], where
            assert found["ObjectiveStatusCounters"] == expected["ObjectiveStatusCounters"], where


def test_a_bayesian_tuning_job_is_told_what_is_known() -> None:
    request, backend, disk = tuning_request(Strategy="Bayesian"), FakeBackend(accuracy), Disk(9, after=True)
    with pytest.raises(Killed):
        run(backend, request, disk)
    known = len([child for child in disk.left[1] if child["ObjectiveStatus"] == "Succeeded"])
    assert known >= 2
    job = TuningJob(request, ARN, backend, "us-east-1", lambda: NOW, left=disk.left)
    backend.ended = job.on_job_end
    assert job.run()["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    (definition,) = job._plan.definitions
    study = definition.sampler._study  # type: ignore[attr-defined]
    assert [round(trial.params["lr"], 6) for trial in study.trials] == [round(float(lr), 6) for lr in tried(backend)]


def test_one_that_was_stopping_stops() -> None:
    backend = FakeBackend(accuracy)
    backend.hold = True
    disk = Disk(4, after=True)
    with pytest.raises(Killed):
        run(backend, tuning_request(), disk)
    disk.left[0]["HyperParameterTuningJobStatus"] = "Stopping"
    found = run(backend, tuning_request(), Disk(), disk.left)
    assert found["HyperParameterTuningJobStatus"] == "Stopped"
    assert found["TrainingJobStatusCounters"]["Stopped"] == len(backend.jobs)
