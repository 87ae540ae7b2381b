"""Strategy Hyperband: which training jobs go on at a rung."""

from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.tuning.hyperband import NAMES, SuccessiveHalving, brackets
from local_test.tuning.plan import read_plan
from tests.support.tuning import SteppingBackend, run_in_steps, tuning_request, with_change


def hyperband(jobs: int = 6, parallel: int = 2, epochs: str | None = "9", **given: Any) -> dict[str, Any]:
    config = {"StrategyConfig": {"HyperbandStrategyConfig": given}} if given else {}
    static = {"epochs": epochs} if epochs else {}
    return with_change(
        "TrainingJobDefinition.StaticHyperParameters",
        static,
        jobs=jobs,
        parallel=parallel,
        Strategy="Hyperband",
        **config,
    )


def test_brackets() -> None:
    assert brackets(1, 9) == [[1, 3], [3], []]
    assert brackets(2, 20) == [[2, 6, 18], [6, 18], [18], []]
    assert brackets(5, 5) == [[]]


def one_bracket(max_resource: int, stops: bool = False) -> SuccessiveHalving:
    """Every job in the first."""
    halving = SuccessiveHalving(1, max_resource, stops, 0)
    halving._shares = [1, *[0] * (len(halving._shares) - 1)]
    return halving


def test_the_better_third_goes_on() -> None:
    halving, losses = one_bracket(9), [0.5, 0.9, 0.4, 0.6, 0.3, 0.35, 0.2, 0.3]
    for index in range(len(losses)):
        halving.on_start(str(index))
    # nobody is stopped before there are three to compare; of six the second best is the last that goes on
    stopped = [halving.report(str(index), loss) for index, loss in enumerate(losses)]
    assert stopped == [False, False, False, True, False, False, False, False]
    assert halving.report("0", 9.9) is False  # no rung at 2
    assert [halving.report(name, loss) for name, loss in (("2", 0.1), ("4", 0.1))] == [False, False]
    assert [halving.report(name, loss) for name, loss in (("0", 0.1), ("2", 0.2), ("4", 0.3))] == [False, False, True]


@pytest.mark.parametrize("stops", [True, False])
def test_at_the_most_it_is_stopped_unless_it_ends_by_itself(stops: bool) -> None:
    halving = one_bracket(3, stops)
    halving.on_start("a")
    assert [halving.report("a", 1.0) for _ in range(3)] == [False, False, stops]


def test_many_jobs_spend_most_of_their_epochs_on_the_good_ones() -> None:
    def curve(request: dict[str, Any]) -> list[float]:
        return [float(request["HyperParameters"]["lr"]) * (1 - 0.5**epoch) for epoch in range(1, 28)]

    backend = SteppingBackend(curve)
    description, job = run_in_steps(backend, hyperband(300, 10, "27"))
    counters = description["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["Stopped"] == 300 == description["ObjectiveStatusCounters"]["Succeeded"]
    assert sum(backend.epochs.values()) < 0.5 * 27 * 300
    by_value = sorted(job.children(), key=lambda child: float(child["TunedHyperParameters"]["lr"]))
    spent = [backend.epochs[child["TrainingJobName"]] for child in by_value]
    assert sum(spent[:100]) < 0.5 * sum(spent[200:])
    assert description["BestTrainingJob"]["TrainingJobStatus"] == "Completed"
    again = SteppingBackend(curve)
    _, same = run_in_steps(again, hyperband(300, 10, "27"))
    assert [child["TunedHyperParameters"] for child in same.children()] == [
        child["TunedHyperParameters"] for child in job.children()
    ]
    assert list(again.epochs.values()) == list(backend.epochs.values())


def test_no_job_is_stopped_before_min_resource_nor_goes_on_after_max_resource() -> None:
    backend = SteppingBackend(lambda request: [float(request["HyperParameters"]["lr"])] * 50)
    description, _ = run_in_steps(backend, hyperband(60, 6, "50", MinResource=4, MaxResource=20))
    assert set(backend.epochs.values()) == {4, 12, 20}
    assert description["TrainingJobStatusCounters"]["Stopped"] == 60


@pytest.mark.parametrize("name", NAMES)
def test_max_resource_is_inferred(name: str) -> None:
    request = with_change("TrainingJobDefinition.StaticHyperParameters", {name: "27"}, Strategy="Hyperband")
    pruner = read_plan(request).definitions[0].pruner
    assert isinstance(pruner, SuccessiveHalving)
    assert (pruner._max_resource, pruner._stops) == (27, False)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (hyperband(epochs=None), r"can't be inferred\. Received: no number of epochs in Static.* one of epochs, nume"),
        (hyperband(epochs="many"), r"can't be inferred\. Received: many"),
        (hyperband(epochs="0"), r"can't be inferred\. Received: 0"),
        (hyperband(MinResource=10), r"Received: MinResource 10, MaxResource 9"),
        (hyperband(MaxResource=20001), r"Received: MinResource 1, MaxResource 20001"),
        (hyperband(MaxResource=0), r"maxResource"),
        (tuning_request(Strategy="Hyperband", TrainingJobEarlyStoppingType="Auto"), r"must be Off .* Received: Auto"),
    ],
)
def test_what_is_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_plan(request_)
