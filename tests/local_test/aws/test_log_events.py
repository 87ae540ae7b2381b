"""FilterLogEvents as boto3 and `aws logs` ask it: the streams of one job, in the order of time, by terms."""

import time
from typing import Any

import pytest

from tests.support.api import refusal_of
from tests.support.served import Served

GROUP = "filtered"
LINES = {  # stream → (milliseconds, line)
    "job-1/algo-1": [(0, "epoch=1 loss=0.5"), (20, "ERROR: no room"), (40, "epoch=2 loss=0.25")],
    "job-1/algo-2": [(10, "WARN slow disk"), (30, 'says "two words"')],
    "job-10/algo-1": [(5, "ERROR of another job")],
}
ALL_OF_JOB = ["epoch=1 loss=0.5", "WARN slow disk", "ERROR: no room", 'says "two words"', "epoch=2 loss=0.25"]


@pytest.fixture(scope="module")
def logs(served: Served) -> Any:
    client = served.client("logs")
    client.create_log_group(logGroupName=GROUP)
    now = round(time.time() * 1000)
    for stream, lines in LINES.items():
        client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        events = [{"timestamp": now + at, "message": line} for at, line in lines]
        client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
    return client


def messages(logs: Any, pages: int | None = None, **members: Any) -> list[str]:
    paginator = logs.get_paginator("filter_log_events").paginate(
        **{"logGroupName": GROUP, **members}, PaginationConfig={"PageSize": pages} if pages else {}
    )
    return [event["message"] for page in paginator for event in page["events"]]


def test_the_lines_of_a_job_by_the_prefix_of_its_streams(logs: Any) -> None:
    assert messages(logs, logStreamNamePrefix="job-1/") == ALL_OF_JOB
    assert messages(logs, logStreamNamePrefix="job-1/", pages=2) == ALL_OF_JOB
    assert messages(logs, logStreamNames=["job-1/algo-2"]) == ALL_OF_JOB[1::2]
    assert messages(logs, logStreamNamePrefix="job-2/") == []
    assert len(messages(logs)) == 6
    whole = logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="job-1/")["events"]
    assert [event["logStreamName"] for event in whole[:2]] == ["job-1/algo-1", "job-1/algo-2"]
    first, last = whole[1]["timestamp"], whole[3]["timestamp"]  # both included
    assert messages(logs, logStreamNamePrefix="job-1/", startTime=first, endTime=last) == ALL_OF_JOB[1:4]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ERROR", ["ERROR: no room"]),
        ("error", []),
        ('"loss=0.25"', ["epoch=2 loss=0.25"]),
        ("epoch loss", ["epoch=1 loss=0.5", "epoch=2 loss=0.25"]),
        ("?ERROR ?WARN", ["WARN slow disk", "ERROR: no room"]),
        ('epoch -"=2"', ["epoch=1 loss=0.5"]),
        (r'"\"two words\""', ['says "two words"']),
        ("", ALL_OF_JOB),
    ],
)
def test_terms(logs: Any, pattern: str, expected: list[str]) -> None:
    assert messages(logs, logStreamNamePrefix="job-1/", filterPattern=pattern) == expected


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"filterPattern": "{ $.a = 1 }"}, "Only terms are filtered by locally"),
        ({"filterPattern": "validation:accuracy"}, "Invalid character(s) in term 'validation:accuracy'"),
        ({"filterPattern": '"open'}, "Invalid filter pattern"),
        ({"logStreamNames": ["a"], "logStreamNamePrefix": "a"}, "Only one of"),
        ({"nextToken": "nonsense"}, "nextToken is invalid"),
        ({"nextToken": "WzEsImEiLDFlOTk5XQ=="}, "nextToken is invalid"),  # [1, "a", 1e999]
    ],
)
def test_what_is_refused(logs: Any, members: dict[str, Any], message: str) -> None:
    said = refusal_of(logs.filter_log_events, "InvalidParameterException", logGroupName=GROUP, **members)
    assert message in said


def test_a_group_that_is_not_there(logs: Any) -> None:
    said = refusal_of(logs.filter_log_events, "ResourceNotFoundException", logGroupName="none")
    assert said == "The specified log group does not exist."
