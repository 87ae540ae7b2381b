"""Docker 26 of Debian's packages with buildx and the containerd store: what today's Docker makes by default."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.missing import missing

UNPACKED = Path("/opt/docker-buildkit")  # by .ci/buildkit


@contextmanager
def buildkit_docker() -> Iterator[dict[str, str]]:
    """An engine of its own; the environment in which `docker` is this one's."""
    if not UNPACKED.is_dir():
        missing(f"no Docker with BuildKit at {UNPACKED}: run .ci/buildkit")
    if os.geteuid() != 0:
        missing("only root starts a Docker engine")
    if not shutil.which("ip"):
        missing("no ip command: Debian's package iproute2 has it")
    with (
        tempfile.TemporaryDirectory(prefix="docker-", dir="/var/tmp") as folder,  # sockets have short paths
        _bridge() as bridge,
    ):
        yield from _run(Path(folder), bridge)


@contextmanager
def _bridge() -> Iterator[str]:
    """A bridge of the engine's own: with "none" it deletes docker0, which this machine's own engine goes on to use."""
    name = f"buildkit-{os.getpid() % 100_000}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


def _run(folder: Path, bridge: str) -> Iterator[dict[str, str]]:
    socket = f"unix://{folder}/docker.sock"
    settings = {
        "features": {"containerd-snapshotter": True}, "hosts": [socket], "bridge": bridge, "iptables": False,
        "ip6tables": False, "data-root": f"{folder}/data", "exec-root": f"{folder}/run", "pidfile": f"{folder}/pid",
    }  # fmt: skip
    (folder / "daemon.json").write_text(json.dumps(settings))
    plugins = {"cliPluginsExtraDirs": [f"{UNPACKED}/usr/libexec/docker/cli-plugins"]}
    (folder / "config.json").write_text(json.dumps(plugins))
    path = f"{UNPACKED}/usr/bin:{UNPACKED}/usr/sbin:{os.environ['PATH']}"
    environment = {"PATH": path, "DOCKER_HOST": socket, "DOCKER_CONFIG": str(folder)}
    with (folder / "dockerd.log").open("w") as log:
        engine = subprocess.Popen(
            [f"{UNPACKED}/usr/sbin/dockerd", "--config-file", str(folder / "daemon.json")],
            env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            limit = time.monotonic() + 60
            while subprocess.run(["docker", "info"], env=os.environ | environment, capture_output=True).returncode:
                assert time.monotonic() < limit and engine.poll() is None, (folder / "dockerd.log").read_text()
                time.sleep(0.1)
            yield environment
        finally:
            engine.terminate()
            engine.wait(60)
