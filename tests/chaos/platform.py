"""The server under test, as a person starts it, and the engine's side of it."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import boto3
import docker
from botocore.config import Config

from local_test.runners.docker import BASE_LABEL, LABEL
from tests.support.engine_relay import EngineRelay
from tests.support.programs import write_executable
from tests.support.small_image import small_image

ROOT = Path(__file__).resolve().parents[2]
_DISK = "size=96m"
# the process runner with a shell program in the place of the toolkit's
_MAIN = """
import os, sys
from pathlib import Path
from local_test.cli.main import main
from local_test.runners.process import ProcessRunner
sys.exit(main(choose_runner=lambda *_: ProcessRunner(os.environ, Path.cwd(), [str(Path("train").resolve())])))
"""
_TRAIN = '#!/bin/sh\ncd "$SAGEMAKER_BASE_DIR" || exit 1\nmkdir -p checkpoints\neval "$PROGRAM"\n'
_LIMITS = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1}, proxies={})


class Platform:
    """A server in `folder`: in containers if an engine answers, else with processes. Its root lies on a small disk of
    its own where this user may make one."""

    def __init__(self, folder: Path, containers: bool) -> None:
        self.folder, self.root, self.log = folder, folder / "disk/root", folder / "server.log"
        self.engine: Any = docker.from_env() if containers else None
        self.relay: EngineRelay | None = None
        self.image = "image"
        self.process: subprocess.Popen[str]
        self._stack, self._clients = ExitStack(), dict[str, Any]()

    def __enter__(self) -> Self:
        (self.folder / "disk").mkdir()
        mounted = ["mount", "-t", "tmpfs", "-o", _DISK, "chaos", str(self.folder / "disk")]
        self.has_own_disk = subprocess.run(mounted, capture_output=True, check=False).returncode == 0
        if self.has_own_disk:
            self._stack.callback(subprocess.run, ["umount", "-l", str(self.folder / "disk")], check=False)
        if self.engine:
            self._stack.callback(self.engine.close)
            self.image = self._stack.enter_context(small_image(self.engine))
            self.relay = self._stack.enter_context(EngineRelay(self.folder / "engine.sock"))
        write_executable(self.folder / "train", _TRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.remove_leftovers()
        self._stack.close()

    def start(self) -> None:
        start = ["-m", "local_test"] if self.relay else ["-c", _MAIN]
        runner = ["--runner", "docker"] if self.relay else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)}
        if self.relay:
            environment["DOCKER_HOST"] = self.relay.url
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *start, "serve", "--port", "0", "--root", str(self.root), "--parallel", "4", *runner],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        lines = [self.process.stdout.readline() for _ in range(4)]
        if not all(lines):
            raise AssertionError(f"the server does not start: {self.log.read_text()[-2000:]}")
        self.exports = dict(line.removeprefix("export ").strip().split("=") for line in lines)
        self._clients.clear()

    def client(self, service: str) -> Any:
        if service not in self._clients:
            session = boto3.session.Session(self.exports["AWS_ACCESS_KEY_ID"], self.exports["AWS_SECRET_ACCESS_KEY"])
            self._clients[service] = session.client(
                service, "us-east-1", endpoint_url=self.exports["AWS_ENDPOINT_URL"], config=_LIMITS
            )
        return self._clients[service]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """An orderly end; jobs that still run after some seconds are killed by the second signal. Its exit code."""
        for number in (signal.SIGTERM, signal.SIGTERM):
            self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(4)
        return self.process.wait(120)

    def containers(self) -> list[Any]:
        """Of this server, whatever their state."""
        found = self.engine.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
        return [item for item in found if self._is_ours(item.labels)]

    def networks(self) -> list[Any]:
        found = self.engine.networks.list(filters={"label": LABEL})
        return [item for item in found if self._is_ours(item.attrs["Labels"])]

    def _is_ours(self, labels: dict[str, str]) -> bool:
        return Path(labels.get(BASE_LABEL, "")).is_relative_to(self.root)

    def processes(self) -> list[str]:
        """Of jobs of this server."""
        mark, found = f"SAGEMAKER_BASE_DIR={self.root}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes():
                    found.append(path.parent.name)
        return found

    def remove_leftovers(self) -> None:
        """After a failure. What was found has been told by then."""
        if self.engine:
            for item in self.containers():
                with suppress(docker.errors.APIError):
                    item.remove(force=True)
            for item in self.networks():
                with suppress(docker.errors.APIError):
                    item.remove()
        for number in self.processes():
            with suppress(OSError):
                os.kill(int(number), signal.SIGKILL)
