"""The delivery of lines and values, to moto over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from local_test.aws import cloudwatch
from local_test.aws.clients import Clients
from local_test.aws.cloudwatch import CloudWatch
from local_test.request.job_kind import TRAINING
from local_test.server.http import HttpServer
from local_test.server.mocked_services import mocked_services

REGION = "eu-west-3"


@pytest.fixture
def clients() -> Iterator[Clients]:
    with closing(HttpServer("127.0.0.1", 0, mocked_services())) as server:
        server.start()
        with closing(Clients(server.url)) as found:
            yield found


def deliver(clients: Clients, job: str, lines: int) -> list[str]:
    """What CloudWatch has of a job that prints so many lines at once and ends."""
    observer = CloudWatch(TRAINING, job, REGION, clients, lambda: datetime.now(UTC))
    for n in range(lines):
        observer.on_line(f"line {n}", "algo-1")
    observer.before_transition("Completed")
    logs = clients.get("logs", REGION)
    (stream,) = logs.describe_log_streams(logGroupName=TRAINING.log_group, logStreamNamePrefix=f"{job}/")["logStreams"]
    names = {"logGroupName": TRAINING.log_group, "logStreamName": stream["logStreamName"], "startFromHead": True}
    return [event["message"] for event in logs.get_log_events(**names)["events"]]


def test_a_container_that_prints_faster_than_the_delivery_waits_for_it(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch, "_WAITING", 100)
    observer = CloudWatch(TRAINING, "fast", REGION, clients, lambda: datetime.now(UTC))
    for n in range(1050):
        observer.on_line(f"line {n}", "algo-1")
        assert sum(map(len, observer._lines.values())) < 100
    observer.before_transition("Completed")
    assert deliver(clients, "other", 3) == ["line 0", "line 1", "line 2"]


def test_what_one_job_may_keep_in_memory_is_limited(
    clients: Clients, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cloudwatch, "_KEPT_BYTES", 10 * (cloudwatch._RECORD_BYTES + len("line 0")))
    assert deliver(clients, "long", 50) == [f"line {n}" for n in range(10)]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "local_test: long: CloudWatch takes no more than 0 MiB of a job. The rest of its lines is in logs/ alone"
    ]


def test_jobs_that_begin_at_once_lose_no_line(clients: Clients) -> None:
    """Each creates the group and finds that another has, with one client of all."""
    found: dict[str, list[str]] = {}

    def begin(job: str) -> None:
        found[job] = deliver(clients, job, 1)

    threads = [threading.Thread(target=begin, args=(f"job-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"job-{n}": ["line 0"] for n in range(8)}
