"""What happens to the server, and what must be true of it at the end."""

import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from docker.errors import APIError

from tests.chaos.platform import Platform
from tests.chaos.programs import PROGRAMS, request

BUCKET = "chaos"
_FINAL = ("Completed", "Failed", "Stopped")
_GONE_SECONDS = 20  # for what was killed to be gone, on a machine with much else to do
_END_SECONDS = 240  # for all jobs to end, once nothing breaks any more
_HELD = 30  # connections of slow peers
_EXPECTED = ("ResourceInUse", "ValidationException", "NoSuchBucket")


class Chaos:
    """One server's bad days. The ledger: jobs that were accepted, objects that an orderly end has kept (`kept`), and
    those that were stored since (`stored`), which a kill -9 may take."""

    def __init__(self, platform: Platform, rng: random.Random) -> None:
        self._platform, self._random = platform, rng
        self._jobs: list[str] = []
        self._young: list[str] = []  # of this server and of those that ended orderly before it: S3 has their models
        self._kept: dict[str, bytes] = {}
        self._stored: dict[str, bytes] = {}
        self._peers: list[socket.socket] = []
        self._counts: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._problems: list[str] = []
        self._acts: dict[Callable[[], None], int] = {
            self._create: 30, self._store: 10, self._look: 10, self._stop: 6, self._hold_peer: 6, self._kill_server: 2,
            self._restart: 4,
        }  # fmt: skip
        if platform.relay:
            self._acts |= {self._kill_container: 4, self._cut_engine: 4}
        if platform.has_own_disk:
            self._acts[self._fill_disk] = 2

    def run(self, limit: float) -> list[str]:
        """Faults until `limit`, by time.monotonic(); then what is wrong, a line each."""
        self._platform.start()
        self._fill_bucket()
        while time.monotonic() < limit:
            act = self._random.choices([*self._acts], [*self._acts.values()])[0]
            self._counts[act.__name__.strip("_").replace("_", " ")] += 1
            try:
                act()
            except ClientError as error:
                if error.response["Error"]["Code"] not in _EXPECTED:
                    self._problems.append(f"{act.__name__}: {error}")
            except BotoCoreError as error:
                self._problems.append(f"{act.__name__}: {error}")
            time.sleep(self._random.expovariate(3))
        self._close_peers()
        self._check_end()
        return self._problems

    def summary(self) -> str:
        acts = ", ".join(f"{count} × {name}" for name, count in sorted(self._counts.items()))
        statuses = ", ".join(f"{count} {name}" for name, count in sorted(self._statuses.items()))
        return f"{acts}; {len(self._jobs)} jobs: {statuses}; {len(self._kept) + len(self._stored)} objects"

    # What clients do

    def _fill_bucket(self) -> None:
        s3 = self._platform.client("s3")
        with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=BUCKET)
        for name in ("a", "b"):
            s3.put_object(Bucket=BUCKET, Key=f"data/{name}", Body=name.encode() * 20_000)

    def _create(self) -> None:
        name, program = f"job-{self._counts['create']}", self._random.choice([*PROGRAMS])
        hosts = 2 if self._platform.relay and self._random.random() < 0.2 else 1
        wanted = request(name, program, self._platform.image, BUCKET, hosts)
        self._platform.client("sagemaker").create_training_job(**wanted)
        self._jobs.append(name)
        self._young.append(name)

    def _store(self) -> None:
        key, body = f"kept/{self._counts['store']}", self._random.randbytes(self._random.randrange(300_000))
        self._platform.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        self._stored[key] = body

    def _look(self) -> None:
        sagemaker = self._platform.client("sagemaker")
        sagemaker.list_training_jobs(MaxResults=100)
        if self._jobs:
            sagemaker.describe_training_job(TrainingJobName=self._random.choice(self._jobs))

    def _stop(self) -> None:
        if self._jobs:
            self._platform.client("sagemaker").stop_training_job(TrainingJobName=self._random.choice(self._jobs[-8:]))

    def _hold_peer(self) -> None:
        """Half a request, or an answer that nobody reads."""
        address = urlsplit(self._platform.exports["AWS_ENDPOINT_URL"])
        peer = socket.create_connection((address.hostname or "", address.port or 0), timeout=10)
        half = b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\n{" % address.netloc.encode()
        whole = b"GET /%s/data/a HTTP/1.1\r\nHost: %s\r\n\r\n" % (BUCKET.encode(), address.netloc.encode())
        peer.sendall(self._random.choice([half[:40], half, whole]))
        self._peers.append(peer)
        if len(self._peers) > _HELD:
            self._peers.pop(0).close()

    # What breaks

    def _kill_server(self) -> None:
        self._platform.kill()
        self._stored.clear()
        self._young.clear()
        self._close_peers()
        self._start_again()

    def _restart(self) -> None:
        self._close_peers()
        if code := self._platform.end():
            self._problems.append(f"an orderly end had the exit code {code}")
        self._kept |= self._stored
        self._stored.clear()
        self._start_again()

    def _start_again(self) -> None:
        self._platform.start()
        self._fill_bucket()  # unless an orderly end has kept it

    def _kill_container(self) -> None:
        for container in self._platform.containers()[:1]:
            with suppress(APIError):
                container.kill()

    def _cut_engine(self) -> None:
        assert self._platform.relay
        self._platform.relay.cut()
        if self._random.random() < 0.5:
            with suppress(ClientError):
                self._create()
        time.sleep(self._random.uniform(0.1, 4))
        self._platform.relay.restore()

    def _fill_disk(self) -> None:
        ballast = self._platform.folder / "disk/ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(bytes(1 << 16)):
                    pass
            for _ in range(3):
                time.sleep(self._random.uniform(0.1, 0.5))
                with suppress(ClientError):
                    self._create()
        finally:
            ballast.unlink()

    def _close_peers(self) -> None:
        for peer in self._peers:
            peer.close()
        self._peers.clear()

    # The end

    def _check_end(self) -> None:
        self._await_jobs()
        self._check_objects()
        self._restart()
        self._check_jobs()
        self._check_objects()
        if code := self._platform.end():
            self._problems.append(f"the last end had the exit code {code}")
        self._check_leftovers()

    def _await_jobs(self) -> None:
        limit = time.monotonic() + _END_SECONDS
        while unfinished := [name for name, status in self._describe_all().items() if status not in _FINAL]:
            if time.monotonic() > limit:
                self._problems.append(f"jobs that do not end: {', '.join(unfinished)}")
                return
            time.sleep(0.5)

    def _describe_all(self) -> dict[str, str]:
        pages = self._platform.client("sagemaker").get_paginator("list_training_jobs").paginate()
        return {
            job["TrainingJobName"]: job["TrainingJobStatus"] for page in pages for job in page["TrainingJobSummaries"]
        }

    def _check_jobs(self) -> None:
        found = self._describe_all()
        self._statuses.update(found.values())
        self._problems += [f"lost job: {name}" for name in self._jobs if name not in found]
        self._problems += [f"job {name} is {status}" for name, status in found.items() if status not in _FINAL]
        sagemaker = self._platform.client("sagemaker")
        for name, status in found.items():
            description = sagemaker.describe_training_job(TrainingJobName=name)
            if status == "Failed" and not description.get("FailureReason"):
                self._problems.append(f"job {name} has failed without a reason")
            if status == "Completed" and name in self._young:
                self._check_model(name)

    def _check_model(self, name: str) -> None:
        try:
            self._platform.client("s3").head_object(Bucket=BUCKET, Key=f"out/{name}/output/model.tar.gz")
        except ClientError as error:
            self._problems.append(f"lost model of {name}: {error}")

    def _check_objects(self) -> None:
        s3: Any = self._platform.client("s3")
        for key, body in (self._kept | self._stored).items():
            try:
                if s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() != body:
                    self._problems.append(f"another object: {key}")
            except ClientError as error:
                self._problems.append(f"lost object: {key}: {error}")

    def _leftovers(self) -> list[str]:
        found = [f"process: {number}" for number in self._platform.processes()]
        if self._platform.engine:
            found += [f"container: {item.name} {item.labels}" for item in self._platform.containers()]
            found += [f"network: {item.name}" for item in self._platform.networks()]
        return found

    def _check_leftovers(self) -> None:
        limit = time.monotonic() + _GONE_SECONDS
        while (found := self._leftovers()) and time.monotonic() < limit:
            time.sleep(0.5)
        self._problems += found
        log = self._platform.log.read_text(errors="replace")
        if "Traceback" in log:
            start = log.index("Traceback")
            self._problems.append(
                f"{log.count('Traceback')} tracebacks, the first: {log[max(0, start - 200) : start + 3000]}"
            )
        sys.stdout.flush()
