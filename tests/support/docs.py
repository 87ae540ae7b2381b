"""The pages of the docs: their code, and the commands in it."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read_blocks(page: Path, kind: str) -> list[str]:
    """The code blocks of a kind: what stands behind the opening quotes, such as `sh`."""
    return [code for info, code in _BLOCK.findall(page.read_text()) if info == kind]


def read_commands(page: Path) -> Iterator[str]:
    """Each command of the page's shell blocks, without its comment and on one line, and each piece of inline code."""
    text = page.read_text()
    for info, code in _BLOCK.findall(text):
        if info.split(" ")[0] in ("", "sh"):
            for line in code.replace("\\\n", " ").splitlines():
                yield " ".join(re.sub(r"(^|\s)#.*", "", line).split())
    for code in re.findall(r"`([^`]+)`", _BLOCK.sub("", text)):
        yield " ".join(code.split())
