"""Tuning jobs that build on earlier ones: what they know from the beginning, what they may change."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from local_test.errors import BadRequest, LocalTestError
from local_test.request.validation import _check, service_model
from local_test.tuning.job import TuningJob
from local_test.tuning.plan import read_plan
from local_test.tuning.warm_start import TuningRecord
from tests.support.tuning import ARN, NOW, FakeBackend, tuning_request, with_change

IDENTICAL, TRANSFER = "IdenticalDataAndAlgorithm", "TransferLearning"


def peak(request: dict[str, Any]) -> tuple[str, float | None]:
    return "Completed", 1 - abs(float(request["HyperParameters"]["lr"]) - 0.3)


def finished(request: dict[str, Any], result: Callable[..., Any] = peak, **options: Any) -> TuningRecord:
    backend = FakeBackend(result)
    job = TuningJob(request, ARN, backend, "us-east-1", lambda: NOW, **options)
    backend.ended = job.on_job_end
    return job.run(), job.children()


def warm(request: dict[str, Any], kind: str = IDENTICAL, parents: tuple[str, ...] = ("tune",)) -> dict[str, Any]:
    named = [{"HyperParameterTuningJobName": name} for name in parents]
    config = {"ParentHyperParameterTuningJobs": named, "WarmStartType": kind}
    return {**request, "HyperParameterTuningJobName": "warm", "WarmStartConfig": config}


@pytest.mark.parametrize("kind", [IDENTICAL, TRANSFER])
def test_it_begins_where_its_parent_was_good(kind: str) -> None:
    parent = finished(tuning_request(40, 4))
    cold, known = [
        [float(child["TunedHyperParameters"]["lr"]) for child in children]
        for _, children in (
            finished(tuning_request(5, 1, Strategy="Bayesian")),
            finished(warm(tuning_request(5, 1, Strategy="Bayesian"), kind), find=lambda _: parent),
        )
    ]
    assert sum(abs(value - 0.3) for value in known) < 0.5 * sum(abs(value - 0.3) for value in cold)


def test_the_best_of_it_and_its_parents() -> None:
    parent = finished(tuning_request(40, 4))
    description, children = finished(warm(tuning_request(2)), find=lambda _: parent)
    overall = description["OverallBestTrainingJob"]
    assert overall == {**parent[0]["BestTrainingJob"], "TuningJobName": "tune"}
    assert description["BestTrainingJob"] in children
    shape = service_model().operation_model("DescribeHyperParameterTuningJob").output_shape
    assert list(_check(description, shape, "")) == []
    better, _ = finished(warm(tuning_request(2)), lambda _: ("Completed", 2.0), find=lambda _: parent)
    assert better["OverallBestTrainingJob"] == {**better["BestTrainingJob"], "TuningJobName": "warm"}
    other, _ = finished(warm(tuning_request(2), TRANSFER), find=lambda _: parent)
    assert "OverallBestTrainingJob" not in other  # objectives of other data can't be compared


def test_what_its_parents_learnt_from_theirs_is_not_known() -> None:
    first = finished(tuning_request(4))
    second = finished(warm(tuning_request(3)), find=lambda _: first)
    plan = read_plan(warm(tuning_request(2)), lambda _: second)
    assert len(plan.earlier) == 3


def test_observations_with_another_range_and_with_static_values() -> None:
    """Values outside of the new range are left out; what was static is known as it was."""
    parent_request = with_change("TrainingJobDefinition.StaticHyperParameters", {"epochs": "1", "units": "8"})
    parent = finished(parent_request)
    request = warm(with_change("TrainingJobDefinition.StaticHyperParameters", {"epochs": "1"}, Strategy="Bayesian"))
    request["HyperParameterTuningJobConfig"]["ParameterRanges"] = {
        "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.5", "MaxValue": "1"}],
        "IntegerParameterRanges": [{"Name": "units", "MinValue": "4", "MaxValue": "16"}],
    }
    plan = read_plan(request, lambda _: parent)
    known = [trial.params for trial in plan.definitions[0].sampler._study.trials]
    tried = [float(child["TunedHyperParameters"]["lr"]) for child in parent[1]]
    assert [item["lr"] for item in known] == [value for value in tried if value >= 0.5]
    assert known
    assert {item["units"] for item in known} == {8}


def test_a_reverse_logarithmic_range_is_learnt_as_it_was() -> None:
    ranges = {
        "ContinuousParameterRanges": [
            {"Name": "lr", "MinValue": "0.1", "MaxValue": "0.9", "ScalingType": "ReverseLogarithmic"}
        ]
    }
    parent = finished(tuning_request(6, ParameterRanges=ranges))
    plan = read_plan(warm(tuning_request(2, Strategy="Bayesian", ParameterRanges=ranges), TRANSFER), lambda _: parent)
    known = [1 - trial.params["lr"] for trial in plan.definitions[0].sampler._study.trials]
    assert known == pytest.approx([float(child["TunedHyperParameters"]["lr"]) for child in parent[1]])


def statics(**values: str) -> dict[str, Any]:
    return with_change("TrainingJobDefinition.StaticHyperParameters", {"epochs": "1", **values})


def other_image(request: dict[str, Any]) -> dict[str, Any]:
    request = copy.deepcopy(request)
    request["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] = "image:2"
    return request


INTEGER = {"IntegerParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "9"}]}
GRID = {"CategoricalParameterRanges": [{"Name": "lr", "Values": ["0", "1"]}]}
OBJECTIVE = "HyperParameterTuningJobConfig.HyperParameterTuningJobObjective.Type"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (warm(statics(units="8")), "The set of tunable plus static HyperParameter names is not the same.*: units$"),
        (warm(with_change(OBJECTIVE, "Minimize")), "objective metric must be the same .* Received: .*Minimize"),
        (warm(tuning_request(ParameterRanges=INTEGER)), "Received: lr in IntegerParameterRanges"),
        (warm(other_image(tuning_request())), "Received: another AlgorithmSpecification.TrainingImage. Use Transfer"),
        (
            warm(with_change("TrainingJobDefinition.Environment", {"A": "1"})),
            r"Only the following fields in TrainingJobDefinition are allowed to change: \[algorithmSpecification, .*: "
            "Environment",
        ),
        (warm(tuning_request(747)), "at most 750 training jobs. Received: 751"),
        (warm(tuning_request(), parents=("tune", "tune")), "must be different ones. Received: tune, tune"),
        (warm(tuning_request(), parents=tuple("abcdef")), "length less than or equal to 5"),
        (warm(tuning_request(None, Strategy="Grid", ParameterRanges=GRID)), "for the strategies Bayesian and Random"),
        (warm(tuning_request(), parents=("runs",)), "must be over. Received: runs, which is InProgress"),
        (warm(tuning_request(), parents=("none",)), "can't find a tuning job called"),
    ],
)
def test_what_is_refused(request_: dict[str, Any], message: str) -> None:
    parent = finished(tuning_request(4))
    known = {"tune": parent, "runs": ({**parent[0], "HyperParameterTuningJobStatus": "InProgress"}, [])}
    no = read_plan.__defaults__[0]  # type: ignore[index]
    with pytest.raises(LocalTestError, match=message):
        read_plan(request_, lambda name: known[name] if name in known else no(name))


def test_another_image_is_transfer_learning() -> None:
    parent = finished(tuning_request(4))
    assert read_plan(warm(other_image(tuning_request()), TRANSFER), lambda _: parent).max_jobs == 6


def test_static_values_may_change_a_little() -> None:
    """A number counts once, other text twice, as each value of a categorical hyperparameter does."""
    parent = finished(statics(**{f"s{n}": "a" for n in range(6)}))
    few = statics(**{f"s{n}": "b" if n < 5 else "a" for n in range(6)})
    assert read_plan(warm(few), lambda _: parent).max_jobs == 6
    with pytest.raises(BadRequest, match=r"at most 10 changes\. Received: 12"):
        read_plan(warm(statics(**{f"s{n}": "b" for n in range(6)})), lambda _: parent)
