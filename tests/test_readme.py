"""The README says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from local_test.request import support
from train.runtime.hyperparameters import describe

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def rows(section: str) -> dict[str, list[str]]:
    """The tables of a section: first cell without its quotes → the others."""
    text = re.split(r"^#+ ", README.partition(f"# {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_hyperparameter_is_listed_as_it_is():
    listed = rows("Hyperparameters")
    for name, default, meaning in describe():
        assert listed[name][1] == meaning
        assert listed[name][0] in (f"`{default}`", "CIFAR-10’s ten")
    assert len(listed) == len(describe()) + 2  # the head and its rule


def test_the_level_of_support_is_the_platforms():
    listed = rows("Level of support")
    for member in support.ACTED_ON | support.ACCEPTED:
        words = "acted on" if member in support.ACTED_ON else "accepted"
        only = f": {support.VALUES[member][1]} only" if member in support.VALUES else ""
        assert listed[member][0].startswith(words + only), member
    assert len(listed) == len(support.ACTED_ON | support.ACCEPTED) + 2


def test_every_file_of_the_two_rivers_is_there():
    lines = re.findall(r"^((?:local_test|train|dataset|launch)/\S+)((?:, \w+\.py)*)", README, flags=re.MULTILINE)
    assert len(lines) > 15
    for first, others in lines:
        path = ROOT / first.rstrip(",")
        assert path.exists(), path
        for name in re.findall(r"\w+\.py", others):
            assert (path.parent / name).exists(), name


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"python -m (?:dataset|local_test) [a-z]+", README))), ids=lambda text: text[10:]
)
def test_every_command_is_one(command):
    words = [sys.executable, *command.split()[1:], "--help"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = {
        option
        for text in re.findall(rf"{command}((?:[^\n]*\\\n)*[^\n]*)", README)
        for option in re.findall(r"\s(--[a-z-]+)", text.partition("#")[0])
    }
    assert options <= set(re.findall(r"--[a-z-]+", shown)), options


def test_every_make_target_is_one():
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) - {"the"} <= targets


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO|XXX", README)
