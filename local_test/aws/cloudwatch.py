"""A job's lines and values → CloudWatch Logs and CloudWatch, under the names that the service gives them."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_test.aws.clients import Clients
from local_test.request.job_kind import TRAINING, JobKind, kind_of
from local_test.training.metrics import Metric
from local_test.training.observer import Observer
from local_test.util.console import warn_on_stderr

NAMESPACE = TRAINING.log_group  # of metrics, which training jobs alone have
_SECONDS = 0.5  # between two deliveries
_EVENTS, _EVENT_BYTES, _BATCH_BYTES = 10_000, 26, 1_048_576  # PutLogEvents: events a call, overhead of each, bytes
_VALUES = 1000  # PutMetricData: values a call
_WAITING = 20_000  # lines and values not yet delivered, after which the container's output waits for the delivery
_KEPT_BYTES = 256 << 20  # of one job, in this process's memory: its files in logs/ go on without a limit
_RECORD_BYTES = 400  # that a line or a value takes beside its text
_OVER = ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")

Event = dict[str, Any]


class CloudWatch(Observer):
    """Delivers in its own thread; who sees that a job has ended finds all lines of its containers.

    Memory is bounded: a container that prints faster than that waits, and a job's lines above a limit are left out.
    """

    def __init__(self, kind: JobKind, job: str, region: str, clients: Clients, now: Callable[[], datetime]) -> None:
        self._kind, self._job, self._region, self._clients, self._now = kind, job, region, clients, now
        self._lock, self._delivery = threading.Lock(), threading.Lock()
        self._lines: dict[str, list[Event]] = {}  # by host
        self._values: list[Event] = []
        self._waiting, self._kept_bytes = 0, 0
        self._streams: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._deliver_often, name=f"cloudwatch-{job}", daemon=True)

    def before_transition(self, state: str) -> None:
        if state == self._kind.running and not self._thread.ident:
            self._thread.start()
        elif state in ("Uploading", *_OVER):  # the container is gone, so nothing comes after this
            if state in _OVER:
                self._over.set()
            self._deliver()
        elif state in ("Interrupted", "Restarting"):  # the next instances have streams of their own
            self._deliver()
            self._streams.clear()

    def on_line(self, line: str, host: str) -> None:
        # CloudWatch takes no empty event
        event = {"timestamp": round(self._now().timestamp() * 1000), "message": line or " "}
        if self._has_room(len(line)):
            with self._lock:
                self._lines.setdefault(host, []).append(event)
            self._count()

    def on_metric(self, metric: Metric) -> None:
        if not math.isfinite(metric.value) or not self._has_room(0):
            return
        value = {
            "MetricName": metric.name,
            "Dimensions": [{"Name": "TrainingJobName", "Value": self._job}],
            "Timestamp": metric.timestamp,
            "Value": metric.value,
        }
        with self._lock:
            self._values.append(value)
        self._count()

    def _has_room(self, size: int) -> bool:
        """Whether the job may keep so many bytes more. It is said once if it may not."""
        with self._lock:
            before, self._kept_bytes = self._kept_bytes, self._kept_bytes + size + _RECORD_BYTES
        if before <= _KEPT_BYTES < self._kept_bytes:
            self._warn(f"takes no more than {_KEPT_BYTES >> 20} MiB of a job. The rest of its lines is in logs/ alone")
        return self._kept_bytes <= _KEPT_BYTES

    def _count(self) -> None:
        """One more waits. Delivers them in this thread, which is the container's output, if they are too many."""
        with self._lock:
            self._waiting += 1
            full = self._waiting >= _WAITING
        if full:
            self._deliver()

    def _warn(self, text: str) -> None:
        warn_on_stderr(f"{self._job}: CloudWatch {text}")

    def _deliver_often(self) -> None:
        while not self._over.wait(_SECONDS):
            self._deliver()

    def _deliver(self) -> None:
        with self._delivery:
            with self._lock:
                lines, self._lines = self._lines, {}
                values, self._values = self._values, []
                self._waiting = 0
            try:
                for host, events in lines.items():
                    self._put_lines(host, events)
                for start in range(0, len(values), _VALUES):
                    client = self._clients.get("cloudwatch", self._region)
                    client.put_metric_data(Namespace=NAMESPACE, MetricData=values[start : start + _VALUES])
            except (BotoCoreError, ClientError) as error:
                self._warn(f"takes no more: {error}")

    def _put_lines(self, host: str, events: list[Event]) -> None:
        client = self._clients.get("logs", self._region)
        names = {"logGroupName": self._kind.log_group, "logStreamName": self._stream(host)}
        batch: list[Event] = []
        size = 0
        for event in events:
            length = len(event["message"].encode()) + _EVENT_BYTES
            if batch and (len(batch) == _EVENTS or size + length > _BATCH_BYTES):
                client.put_log_events(**names, logEvents=batch)
                batch, size = [], 0
            batch.append(event)
            size += length
        client.put_log_events(**names, logEvents=batch)

    def _stream(self, host: str) -> str:
        """<job>/<host>-<epoch seconds>, created for the host's first line."""
        if host not in self._streams:
            client = self._clients.get("logs", self._region)
            name = f"{self._job}/{host}-{int(self._now().timestamp())}"
            with _suppress("ResourceAlreadyExistsException"):
                client.create_log_group(logGroupName=self._kind.log_group)
            with _suppress("ResourceAlreadyExistsException"):
                client.create_log_stream(logGroupName=self._kind.log_group, logStreamName=name)
            self._streams[host] = name
        return self._streams[host]


def delete_logs(clients: Clients, description: Mapping[str, Any]) -> None:
    """Frees the memory of a job's log streams. The service keeps them, but not in the memory of a laptop."""
    kind = kind_of(description)
    job, group = kind.name_of(description), kind.log_group
    client = clients.get("logs", kind.arn_of(description).split(":")[3])
    with _suppress("ResourceNotFoundException"):  # nothing has printed a line here
        pages = client.get_paginator("describe_log_streams").paginate(logGroupName=group, logStreamNamePrefix=f"{job}/")
        for name in [stream["logStreamName"] for page in pages for stream in page["logStreams"]]:
            client.delete_log_stream(logGroupName=group, logStreamName=name)


@contextmanager
def _suppress(code: str) -> Iterator[None]:
    """By the code: two threads that ask a client for its exceptions at once may get two classes of one name."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
