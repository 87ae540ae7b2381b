"""Every command that the docs name is one, with every option that they give it, and can be typed where it stands."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs import PAGES, ROOT, read_blocks, read_commands

# `python -m MODULE`, of whichever environment, or the installed command
PYTHON = re.compile(r"^(?:\S*python|\.venv-sdk-v[23]/bin/python) -m ([\w.]+)|^(local-test)\b")
SCRIPTS = re.compile(r"^(?:IMAGE=\$\()?(\./push\.sh|[a-z]+/\w+\.sh|\.ci/run)\b")
SAME_WORDS = {
    "launch.sdk_v2": "launch.boto3_client",
    "launch.sdk_v3": "launch.boto3_client",
    "launch.pipeline.sdk_v2": "launch.pipeline",
    "launch.pipeline.sdk_v3": "launch.pipeline",
    "local-test": "local_test",
}
COMMANDS = sorted({command for page in PAGES for command in read_commands(page)})


def find_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


@functools.cache
def read_help(*words: str) -> str:
    """What a command says about itself."""
    done = subprocess.run([*words, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.mark.parametrize("command", list(filter(PYTHON.match, COMMANDS)))
def test_every_module_knows_its_options(command: str) -> None:
    found = PYTHON.match(command)
    assert found
    module = found[1] or found[2]
    words = [sys.executable, "-m", SAME_WORDS.get(module, module)]
    if module == "pytest":
        return
    if module.startswith("tests."):  # they import TensorFlow first
        path = ROOT / module.replace(".", "/")
        source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert find_options(command) <= find_options(source.read_text())
        return
    subcommand = re.match(r" ([a-z]+)\b", command[found.end() :])
    text = read_help(*words)
    if subcommand and module in ("dataset", "local_test", "local-test", "launch.experiments"):
        text = read_help(*words, subcommand[1])
    elif subcommand:
        assert subcommand[1] in text
    assert find_options(command) <= find_options(text)


@pytest.mark.parametrize("command", list(filter(SCRIPTS.match, COMMANDS)))
def test_every_script_knows_its_options(command: str) -> None:
    found = SCRIPTS.match(command)
    assert found
    assert find_options(command) <= find_options(read_help(found[1]))


def test_every_make_target_is_one() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = [command.split() for command in COMMANDS if re.match(r"(\w+=\S* )*make ", command)]
    words = {word for words in named for word in words[words.index("make") + 1 :] if "=" not in word}
    assert len(words) > 10
    assert words <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_comes_after_the_environment(page: Path) -> None:
    """A person who types a page's commands from the top has the environment when a command needs it."""
    active = False
    for block in (code for kind in ("", "sh", "sh aws") for code in read_blocks(page, kind)):
        for line in block.splitlines():
            active |= line == ". .venv/bin/activate"
            assert active or not re.match(r"python|aws ", line), line
