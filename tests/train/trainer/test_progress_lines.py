import json
import re
from pathlib import Path

import pytest

from tests.support.training import make_batches, make_trainer
from train.errors import TrainingError
from train.trainer.progress import Progress
from train.trainer.progress_lines import VARIABLE, ProgressLines

DEFINITIONS = json.loads((Path(__file__).parents[3] / "launch/training_job.json").read_text())["AlgorithmSpecification"]


class Clock:
    """Each look at it takes a quarter of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def test_a_line_at_most_every_so_often(capsys):
    lines = ProgressLines({VARIABLE: "2"}, epochs=3, steps={"train": 7, "validation": None}, clock=Clock())
    progress = Progress()
    for _ in range(20):
        progress.step_in_epoch += 1
        progress.examples_seen += 32
        progress.seconds, progress.loss_sum, progress.correct = 2.0, 64.0, 16
        if lines.is_due():
            lines.training(progress)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "progress training epoch=1/3 step=1/7 rate=16.0 loss=2.000000 accuracy=0.500000"
    assert len(printed) == 3
    assert "step=17/17 " in printed[-1]  # a count that was wrong is not 214 %


def test_validation_counts_for_the_next_pass(capsys):
    lines = ProgressLines({VARIABLE: "0.5"}, epochs=1, clock=Clock())
    assert list(lines.follow("validation", iter("abc"), 1)) == ["a", "b", "c"]
    lines.say("export", 1)
    assert list(lines.follow("evaluation", iter("abc"), 1)) == ["a", "b", "c"]
    assert capsys.readouterr().out.splitlines() == [
        "progress validation epoch=1/1 step=1",
        "progress validation epoch=1/1 step=3",
        "progress export epoch=1/1",
        "progress evaluation epoch=1/1 step=2/3",
    ]


def test_nothing_is_printed_unless_somebody_watches(capsys):
    lines = ProgressLines({})
    batches = iter("abc")
    assert lines.follow("validation", batches, 1) is batches
    lines.say("export", 1)
    assert not lines.is_due()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["often", "0", "-1", "nan", "inf"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(TrainingError, match=rf"PROGRESS_SECONDS can't be used. Received: '{text}'. Expected: seconds"):
        ProgressLines({VARIABLE: text})


def test_lines_change_no_number_and_are_no_metrics(capsys):
    """The same weights and counters with and without; and no definition of the request's finds anything in them."""
    quiet, watched = (
        make_trainer(),
        make_trainer(lines=ProgressLines({VARIABLE: "0.5"}, steps={"train": 3}, clock=Clock())),
    )
    one, other = Progress(), Progress()
    quiet.train_epoch(make_batches(), one)
    assert "progress" not in capsys.readouterr().out
    watched.train_epoch(make_batches(), other)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("progress ")]
    assert [re.search(r"step=(\S+)", line)[1] for line in printed] == ["1/3", "3/3"]
    assert (one.loss_sum, one.correct, one.step) == (other.loss_sum, other.correct, other.step)
    for before, after in zip(quiet.model.get_weights(), watched.model.get_weights(), strict=True):
        assert (before == after).all()
    assert not [line for line in printed for item in DEFINITIONS["MetricDefinitions"] if re.search(item["Regex"], line)]
