"""Pictures to prepare, and the command to prepare them with: in this process, or in one of its own."""

import io
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from dataset.__main__ import main
from dataset.interrupt import SIGNALS

ROOT = Path(__file__).resolve().parents[2]


def encoded(seed: int, size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    """A noise picture's file; size is height, width."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return encoded


@pytest.fixture
def tree() -> dict[str, bytes]:
    """Path → content of two classes, 20 pictures each to train on, 4 to validate, 8×8."""
    return {
        (name := f"{split}/{label}/{n:03d}.png"): encoded(zlib.crc32(name.encode()))
        for split, count in (("train", 20), ("validation", 4))
        for label in ("cat", "dog")
        for n in range(count)
    }


@pytest.fixture
def write_tree() -> Callable[[Path, dict[str, bytes]], Path]:
    def write(root: Path, files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return write


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """`python -m dataset …` in this process: exit code, stdout, stderr."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    yield run
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`python -m dataset …` in a process of its own; killed at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "dataset", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def until() -> Callable[[subprocess.Popen[str], str], str]:
    """Reads a process's stderr until it has said something; returns all that it said."""

    def read(child: subprocess.Popen[str], words: str) -> str:
        said = ""
        while words not in said:
            letter = child.stderr.read(1)
            assert letter, f"it ended before it said {words!r}: {said}"
            said += letter
        return said

    return read


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user with keys, and nothing else that boto3 would find on this machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def s3(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a fresh S3 that holds the bucket `pets`; AWS_ENDPOINT_URL names it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="pets")
    yield client
    for entry in client.list_objects_v2(Bucket="pets").get("Contents", ()):
        client.delete_object(Bucket="pets", Key=entry["Key"])
    client.delete_bucket(Bucket="pets")  # moto's state outlives its server
    client.close()
    server.stop()
