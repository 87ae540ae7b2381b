"""What a page is sent, without a server."""

import itertools
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from local_test.errors import ResourceNotFound
from local_test.experiments.entities import Experiments
from local_test.experiments.metric_store import MetricPoint
from local_test.page.lists import Cache, ListTail, runs_of, summarize
from local_test.page.live import FIRST_LOG_BYTES, POLL_SECONDS, JobTail, RunTail, Tail, follow

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = {
    "TrainingJobName": "j", "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/j",
    "TrainingJobStatus": "Completed", "SecondaryStatus": "Completed", "CreationTime": WHEN, "LastModifiedTime": WHEN,
    "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.5, "Timestamp": WHEN}],
}  # fmt: skip
ROW = "2026-01-02T03:04:05.000+00:00,loss,{},{}\n"


def test_a_line_comes_once_it_is_whole(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log")
    assert tail.read() == [], "no file yet"
    with (tmp_path / "log").open("w") as file:
        for written, read in (("one\ntw", ["one"]), ("o", []), ("\n\n", ["two", ""])):
            file.write(written)
            file.flush()
            assert tail.read() == read


def test_of_a_long_log_whole_lines_of_its_end_come(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = [f"{number:0100}" for number in range(10_000)]
    (tmp_path / "logs/algo-1.log").write_text("\n".join(lines) + "\n")
    [(name, event)] = JobTail("j", tmp_path, with_logs=True).read()
    assert (name, event["host"]) == ("log", "algo-1")
    assert event["lines"] == lines[-len(event["lines"]) :]
    assert FIRST_LOG_BYTES - 202 < sum(len(line) + 1 for line in event["lines"]) <= FIRST_LOG_BYTES


def test_values_that_json_has_no_number_for_are_gaps(tmp_path: Path) -> None:
    rows = "".join(ROW.format(value, index) for index, value in enumerate(("0.5", "nan", "inf", "1e-9")))
    (tmp_path / "metrics.csv").write_text("timestamp,metric,value,index\n" + rows)
    [(_, event)] = JobTail("j", tmp_path, with_logs=False).read()
    assert [(value, index) for _, _, value, index in event["points"]] == [(0.5, 0), (None, 1), (None, 2), (1e-9, 3)]


def test_what_a_full_disk_left_of_a_row_ends_no_page(tmp_path: Path) -> None:
    rows = ['2026-01-01T00:00:00.000,"a,0.5,02026-01-01T00:00:01.000,a,0.5,0', "2026-01,a,1,0"]
    whole = "2026-01-01T00:00:02.000,a,2.0,1"
    (tmp_path / "metrics.csv").write_text("\n".join(["timestamp,metric,value,index", *rows, whole, ""]))
    (event,) = JobTail("job", tmp_path, with_logs=False).read()
    assert [point[2:] for point in event[1]["points"]] == [[2.0, 1]]


def test_a_file_that_another_one_replaces_is_told_from_its_beginning(tmp_path: Path) -> None:
    """A job's that was deleted and begun again by its name, a run's that was cleared."""
    path, tail = tmp_path / "metrics.jsonl", RunTail("r", tmp_path / "metrics.jsonl")
    path.write_text('["a", 1, 0.5, null]\n["a", 2, 0.25, null]\n["a", 2, 0.125, 7]\nno line of it\n')
    assert [event["points"] for _, event in tail.read()] == [[["a", 1, 0.5, 0], ["a", 2, 0.25, 1], ["a", 2, 0.125, 7]]]
    path.unlink()
    assert list(tail.read()) == []
    # after a gap that was seen, and in its place at once
    for time_of, clean in ((3, path.touch), (4, path.unlink)):
        path.write_text(f'["a", {time_of}, 0.5, null]\n' * 9)
        [cleared, (_, event)] = tail.read()
        assert cleared == ("cleared", {"job": "r"})
        assert event["points"] == [["a", time_of, 0.5, number] for number in range(9)]
        clean()
        assert list(tail.read()) == []


def test_a_job_that_prints_without_pause_is_looked_at_no_more_often(tmp_path: Path) -> None:
    """Only what one look can't take makes the next one come at once."""
    path, looks = tmp_path / "metrics.csv", 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        with path.open("a") as file:
            file.write(ROW.format(0.5, looks))

    path.write_text(ROW.format(0.5, 0) * 50_000)  # some MiB
    events = follow([JobTail("j", tmp_path, with_logs=False)], sleep)
    told = [len(event["points"]) for _, event in itertools.islice(events, 6)]
    assert sum(told[:2]) == 50_000
    assert told[2:] == [1] * 4
    assert looks == 4


def test_rows_come_once_and_when_they_change_and_silence_is_broken() -> None:
    rows, slept = [JOB], itertools.count()
    clock = itertools.count(step=4)
    cache = Cache(lambda: rows, summarize)
    events = follow(
        [ListTail("training-jobs", cache.read)], lambda _: (next(slept), time.sleep(POLL_SECONDS)), lambda: next(clock)
    )
    assert next(events) == ("rows", {"list": "training-jobs", "rows": [summarize(JOB)], "gone": []})
    assert next(events) == ("alive", None)
    rows = [JOB, {**JOB, "TrainingJobName": "k"}]
    assert [row["id"] for row in next(events)[1]["rows"]] == ["k"]
    rows = rows[1:]
    assert next(events)[1] == {"list": "training-jobs", "rows": [], "gone": ["j"]}
    assert next(slept) > 2, "it waits between looks"


def test_a_list_of_nothing_is_told_and_one_that_is_gone() -> None:
    assert list(ListTail("experiments", tuple).read()) == [("rows", {"list": "experiments", "rows": [], "gone": []})]

    def deleted() -> NoReturn:
        raise ResourceNotFound("deleted")

    tail = ListTail("experiments/x", deleted)
    assert list(tail.read()) == [("ended", {"list": "experiments/x", "reason": "deleted"})]
    assert list(tail.read()) == []


def test_many_pages_cost_no_more_looks_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, now = 0, 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def list_jobs() -> list[dict[str, object]]:
        nonlocal looks
        looks += 1
        return [JOB]

    cache = Cache(list_jobs, summarize)
    tails = [ListTail("training-jobs", cache.read) for _ in range(50)]
    assert all(len(list(tail.read())) == 1 for tail in tails)
    assert looks == 1
    now += POLL_SECONDS
    assert all(list(tail.read()) == [] for tail in tails), "nothing is new"
    assert looks == 2


def test_many_runs_are_looked_at_without_reading_them_again(tmp_path: Path) -> None:
    experiments = Experiments(tmp_path, "us-east-1", lambda: WHEN)
    experiments.experiments.create({"ExperimentName": "e"})
    experiments.create_trial({"TrialName": "t", "ExperimentName": "e"})
    for number in range(120):
        experiments.components.create({"TrialComponentName": f"run-{number}"})
        experiments.associate(f"run-{number}", "t")
        experiments.metric_store(f"run-{number}").add([MetricPoint("loss", WHEN, number, 0)])
    tail = ListTail("experiments/e", lambda: runs_of(experiments, "e"))
    told = [row for _, event in tail.read() for row in event["rows"]]
    assert [(row["id"], row["metrics"]["loss"]["Last"]) for row in told] == [(f"run-{at}", at) for at in range(120)]
    assert list(tail.read()) == []
    experiments.metric_store("run-3").add([MetricPoint("loss", WHEN, 0.5, 1)])
    experiments.components.change("run-4", lambda entity: entity.update(DisplayName="fourth"))
    experiments.disassociate("run-5", "t")
    [(_, event)] = tail.read()
    assert [(row["name"], row["metrics"]["loss"]["Last"]) for row in event["rows"]] == [("run-3", 0.5), ("fourth", 4)]
    assert event["gone"] == ["run-5"]
