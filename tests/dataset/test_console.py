import io
import os
import re
import sys
from pathlib import Path

import pytest

from dataset import console
from dataset.console import Bar
from tests.support.terminal import Terminal

ROOT = Path(__file__).parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("total", "unit", "expected"),
    [
        (24_000, "picture", "write: 6,000/24,000 pictures, 0:06 left, 3,000 pictures/s, 0:02"),
        (200_000_000, "B", "write: 0.0/200.0 MB, 18:31:04 left, 0.0 MB/s, 0:02"),
        (0, "B", "write: 0.0 MB, 0.0 MB/s, 0:02"),
    ],
)
def test_a_line_says_how_far_it_is(total: int, unit: str, expected: str) -> None:
    clock, out = Clock(), io.StringIO()
    bar = Bar(total, "write", unit, out=out, clock=clock)
    bar.update(6000)
    clock.now = 2.0
    bar.show()
    assert out.getvalue() == f"{expected}\n"


def test_in_a_log_a_line_comes_before_ten_seconds_are_over() -> None:
    """Also while nothing is done: that is when a person begins to doubt."""
    clock, out = Clock(), io.StringIO()
    bar = Bar(100, "upload", "object", out=out, clock=clock)
    for _ in range(300):
        clock.now += 0.1
        bar.show(always=False)
    bar.end()
    lines = out.getvalue().splitlines()
    assert [line.rpartition(", ")[2] for line in lines] == ["0:09", "0:18", "0:27", "0:30"]
    assert "\r" not in out.getvalue()


SCRIPT = """
import time
from dataset.console import progress_bar
with progress_bar(3, "a rather long name of what is done", "picture") as bar:
    for _ in range(3):
        time.sleep(0.3)
        bar.update()
"""


def test_on_a_terminal_of_45_columns_a_line_is_drawn_in_place() -> None:
    terminal = Terminal([sys.executable, "-c", SCRIPT], ROOT, dict(os.environ), columns=45)
    assert terminal.end() == 0
    drawn = re.split(r"[\r\n]+", terminal.output.strip("\r\n"))
    assert len(drawn) > 3
    assert all(len(text) < 45 for text in drawn)
    assert drawn[-1] == "a rather long name of what is done: 3/3 pic…"


def test_a_failure_ends_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), console.progress_bar(10, "write", "picture") as bar:
        bar.update(4)
        raise KeyError
    assert capsys.readouterr().err.splitlines()[-1].startswith("write: 4/10 pictures")
