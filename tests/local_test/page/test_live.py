"""What a page is sent, without a server."""

import itertools
import time
from datetime import UTC, datetime
from pathlib import Path

from local_test.page.live import FIRST_LOG_BYTES, POLL_SECONDS, JobTail, Rows, Tail, follow, summarize

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


def test_the_list_comes_when_it_changes_and_silence_is_broken(tmp_path: Path) -> None:
    rows, slept = [summarize(JOB)], itertools.count()
    clock = iter(range(0, 1000, 4))
    events = follow(lambda: rows, [], lambda _: next(slept), lambda: next(clock))
    assert next(events) == ("jobs", [summarize(JOB)])
    assert next(events) == ("alive", None)
    rows = [summarize(JOB), {**summarize(JOB), "name": "k"}]
    assert next(events)[0] == "jobs"
    assert next(slept) > 2, "it waits between looks"


def test_many_pages_cost_no_more_looks_than_one() -> None:
    looks = 0

    def list_jobs() -> list[dict[str, object]]:
        nonlocal looks
        looks += 1
        return [JOB]

    rows = Rows(list_jobs)
    first = rows.read()
    assert all(rows.read() is first for _ in range(50))
    assert looks <= 2
    time.sleep(POLL_SECONDS)
    assert rows.read() is first, "the same object, since nothing is new"
    assert looks <= 3
