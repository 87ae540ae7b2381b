"""A job seen while it runs: on a terminal of the tests' own, and in a file."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.cli.progress import LINE_SECONDS, Display, JobView
from local_test.data.channels import Channel
from local_test.data.fifo_feeder import FeedProgress
from local_test.data.object_store import StoredObject
from local_test.runners.process import ProcessRunner
from local_test.util.clock import now_utc
from local_test.util.console import fit, format_seconds
from local_test.util.live_table import StatusLine
from local_test.util.progress_lines import StepProgress, parse
from tests.support.local_jobs import request_for
from tests.support.programs import write_executable
from tests.support.served import MAIN, ROOT, TRAIN
from tests.support.terminal import Terminal

LINE = "progress training epoch=2/3 step=120/391 rate=1491.5 loss=1.427884 accuracy=0.510960"
AT = StepProgress("training", 2, 3, 120, 391, 1491.5, 1.427884, 0.51096)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_read() -> None:
    assert parse(LINE) == AT
    assert parse("progress validation epoch=1/3 step=7") == StepProgress("validation", 1, 3, 7)
    assert parse("progress export epoch=3/3") == StepProgress("export", 3, 3)


@pytest.mark.parametrize(
    "line", ["", "progress", "progress training", "progress is slow", f" {LINE}", f"{LINE}\n", f"{LINE} \x1b[2J", "a=1"]
)
def test_any_other_line_is_none(line: str) -> None:
    assert parse(line) is None


@given(st.text() | st.from_regex(r"progress [a-z]{1,5}( [a-z]{1,8}=[0-9.e+/-]{1,8}){1,4}", fullmatch=True))
def test_what_a_program_says_is_shown_in_the_room_there_is(line: str) -> None:
    view = JobView(Clock())
    view.move("Training")
    if progress := parse(line):
        view.step(progress)
        view.step(progress)
    assert len(seen(view, 44)) <= 44
    view.place()


def test_counts_that_are_none_are_left_out() -> None:
    assert parse("progress training epoch=1/2/3 step=- loss=--") == StepProgress("training")
    assert parse(f"progress training step={'9' * 40}") == StepProgress("training")


def seen(view: JobView, columns: int) -> str:
    return fit(view.parts(), view.done(), columns)


def test_a_line_fits_its_terminal() -> None:
    clock = Clock()
    view = JobView(clock)
    view.move("Training")
    clock.now = 5.0
    assert seen(view, 44) == "Training 0:05"
    view.step(StepProgress("training", 2, 3, 20, 391, 1491.5, 2.0, 0.1))
    clock.now = 15.0
    view.step(AT)
    assert seen(view, 44) == "██░░░░░ epoch 2/3 · step 120/391 · 0:27 left"
    whole = "epoch 2/3 · step 120/391 · 0:27 left · loss 1.428 · accuracy 0.511 · 1,492 images/s"
    assert seen(view, 120) == f"{'█' * 6}{'░' * 14} {whole}"
    assert seen(view, 5) == "epoc…"
    clock.now = 20.0
    assert "0:22 left" in seen(view, 80)  # it counts down while the program says nothing
    view.step(StepProgress("validation", 2, 3, 5))
    assert seen(view, 80) == "epoch 2/3 · validation 5"
    view.step(StepProgress("export", 3, 3))
    assert seen(view, 80) == "epoch 3/3 · writing the model"
    view.move("Uploading")
    assert seen(view, 80) == "Uploading 0:00"


def test_without_step_lines_the_bytes_of_the_train_channel_are_counted() -> None:
    clock = Clock()
    view = JobView(clock)
    objects = (StoredObject("s3://b/t", "t", 4_000_000),)
    view.watch([Channel("validation", "Pipe", "s3://b/v", objects), Channel("train", "Pipe", "s3://b/t", objects)])
    view.move("Training")
    view.feed(FeedProgress("validation", 0, 9))
    assert seen(view, 80) == "Training 0:00"
    view.feed(FeedProgress("train", 0, 0))
    clock.now = 3.0
    view.feed(FeedProgress("train", 0, 1_000_000))
    assert seen(view, 80) == f"{'█' * 5}{'░' * 15} train_0 1.0/4.0 MB · 0:09 left · Training 0:03"
    view.feed(FeedProgress("train", 1, 2_000_000))
    assert seen(view, 44) == "████░░░░░ train_1 2.0/4.0 MB · Training 0:03"
    view.step(AT)
    view.feed(FeedProgress("train", 1, 3_000_000))
    assert "train_1" not in seen(view, 80)


def test_times() -> None:
    assert [format_seconds(seconds) for seconds in (0.9, 61, 3599, 3723)] == ["0:00", "1:01", "59:59", "1:02:03"]


class Screen(io.StringIO):
    """A terminal of 45 columns, as StatusLine writes to it: carriage return, erase to the end of the line."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return [re.split(r"\r|\x1b\[K", line)[-1] for line in self.getvalue().split("\n")]


def test_lines_stay_whole_above_it() -> None:
    screen, elsewhere = Screen(), io.StringIO()
    line = StatusLine(screen, lambda: os.terminal_size((20, 5)))
    line.show("x" * 30)
    line.say("epoch=1 train:loss=0.5 and more than fits", screen)
    line.say("to a file", elsewhere)
    line.show("y")
    assert screen.getvalue().endswith("\ry\x1b[K")
    line.clear()
    line.say("last", screen)
    assert screen.lines() == ["epoch=1 train:loss=0.5 and more than fits", "last", ""]
    assert elsewhere.getvalue() == "to a file\n"
    assert max(len(part) for part in re.findall(r"x+…", screen.getvalue())) == 19


def transition(state: str) -> dict[str, Any]:
    return {"SecondaryStatusTransitions": [{"Status": state, "StatusMessage": "said", "StartTime": now_utc()}]}


def test_without_a_terminal_a_line_comes_before_ten_seconds_are_over() -> None:
    clock, file = Clock(), io.StringIO()
    display = Display(file, file, clock)
    display.on_transition(transition("Training"))
    display.show()
    assert len(file.getvalue().splitlines()) == 1
    for _ in range(40):  # seconds, each with a look
        clock.now += 1
        display.on_progress(AT)
        display.show()
    display.close()
    told = [line for line in file.getvalue().splitlines() if line.startswith("local_test: ")]
    assert told == ["local_test: epoch 2/3, step 120/391, loss 1.428, accuracy 0.511, 1,492 images/s"] * 4
    assert LINE_SECONDS < 10


PROGRAM = """
print("progress training epoch=1/1 step=1/2 loss=2.5", flush=True)
print("acc=0.5", os.environ.get("PROGRESS_SECONDS"), flush=True)
"""
DEFINITIONS = [{"Name": "any", "Regex": "loss=([0-9.]+)"}]


@pytest.mark.parametrize(
    ("environ", "own", "expected"),
    [
        ({}, {}, [LINE.split("epoch")[0] + "epoch=1/1 step=1/2 loss=2.5", "acc=0.5 None"]),
        ({"PROGRESS_SECONDS": "3"}, {}, ["acc=0.5 3"]),
        ({"PROGRESS_SECONDS": "3"}, {"PROGRESS_SECONDS": "7"}, [PROGRAM.split('"')[1], "acc=0.5 7"]),
    ],
)
def test_lines_that_the_platform_asked_for_are_not_in_the_log(
    tmp_path: Path, program: Callable[[str], ProcessRunner], storage: Any, environ: Any, own: Any, expected: list[str]
) -> None:
    """Nor are they metrics. What the request itself asks for, or the program prints unasked, is a log line."""
    from local_test.training.job import TrainingJob
    from local_test.training.observer import Observer

    told: list[StepProgress] = []

    class Watcher(Observer):
        def on_progress(self, progress: StepProgress) -> None:
            told.append(progress)

    request = request_for("watched", tmp_path / "out", Environment=own)
    request["AlgorithmSpecification"]["MetricDefinitions"] = DEFINITIONS
    job = TrainingJob(request, tmp_path / "jobs", program(PROGRAM), storage, environ, [Watcher()])
    assert job.run()["TrainingJobStatus"] == "Completed"
    assert (job.folder / "logs/algo-1.log").read_text().splitlines() == expected
    assert told == [StepProgress("training", 1, 1, 1, 2, None, 2.5)]
    assert ("any" in (job.folder / "metrics.csv").read_text()) == ("progress" in expected[0])


SLOW = """
for step in range(1, 4):
    print(f"progress training epoch=1/1 step={step}/3 rate=9 loss=1.0 accuracy=0.5", flush=True)
    while step == 2 and not (BASE / "model/go").exists(): time.sleep(0.05)
(BASE / "output/data/report.html").write_text("<h1>report</h1>")
print("trained", flush=True)
"""


def test_a_job_on_a_terminal_of_45_columns(tmp_path: Path) -> None:
    """The whole command: its line is drawn in place, no row is wider than the terminal, and no log line is lost."""
    write_executable(tmp_path / "train.py", TRAIN)
    (tmp_path / "job.json").write_text(json.dumps(request_for("watched", tmp_path / "out")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROGRAM": SLOW}
    terminal = Terminal([sys.executable, "-c", MAIN, "train", "--job", "job.json"], tmp_path, environment, columns=45)
    terminal.wait_for("epoch 1/1 · step 2/3 · ")
    (tmp_path / "jobs/watched/algo-1/opt/ml/model/go").touch()
    assert terminal.end() == 0, terminal.output
    drawn = re.findall(r"\r([^\r\n\x1b]+)\x1b\[K", terminal.output)
    assert any("epoch 1/1 · step 2/3 · " in text for text in drawn), terminal.output
    assert all(len(text) < 45 for text in drawn)
    assert "trained" in re.split(r"\n|\r|\x1b\[K", terminal.output)
    assert "progress training" not in terminal.output
    report = f"file://{tmp_path}/jobs/watched/report.html"
    assert f"Report: \x1b]8;;{report}\x1b\\{report}\x1b]8;;\x1b\\\n" in terminal.output
