"""Pictures to prepare, and the command to prepare them with: in this process, or in one of its own."""

import io
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
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


def small_tree(classes: tuple[str, ...] = ("cat", "dog"), train: int = 20, validation: int = 4) -> dict[str, bytes]:
    return {
        (name := f"{split}/{label}/{n:03d}.png"): encoded(zlib.crc32(name.encode()))
        for split, count in (("train", train), ("validation", validation))
        for label in classes
        for n in range(count)
    }


@pytest.fixture
def tree() -> dict[str, bytes]:
    """Path → content of two classes, 20 pictures each to train on, 4 to validate, 8×8."""
    return small_tree()


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
