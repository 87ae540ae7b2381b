"""Every link, anchor and file of the docs is there, and the front page is short and leads to all of them."""

import re
import unicodedata
from pathlib import Path

import pytest

from tests.support.docs import PAGES, ROOT

README = ROOT / "README.md"
ALL = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "launch/iam/README.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = "benchmarks|container|dataset|docs|launch|local_test|sagemaker_tensorflow|tests|train"


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {
        "".join(
            letter
            for letter in head.lower().replace(" ", "-")
            if letter in "-_" or unicodedata.category(letter)[0] in "LN"
        )
        for head in heads
    }


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        address, _, anchor = link.partition("#")
        if ":" in address:
            assert address.startswith("https://"), link
            continue
        target = page.parent / address if address else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_the_front_page_leads_to_every_other_in_one_step() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall(README.read_text()) if ":" not in link}
    assert set(ALL) - {README} <= linked
    assert len(README.read_text().splitlines()) <= 150


def test_the_front_pages_figures_are_those_of_the_benchmarks() -> None:
    """Every number of a row is in the section that the row links to."""
    benchmarks = (ROOT / "docs/benchmarks.md").read_text()
    rows = re.findall(r"^\| .*\(docs/benchmarks\.md#([\w-]+)\).*\|$", README.read_text(), flags=re.MULTILINE)
    assert len(rows) == 6
    sections = {part.partition("\n")[0].lower().replace(" ", "-"): part for part in benchmarks.split("\n## ")}
    for line in README.read_text().splitlines():
        if found := re.search(r"\(docs/benchmarks\.md#([\w-]+)\)", line):
            for number in re.findall(r"(?<![\w-])\d[\d.,]*", LINK.sub("]", line)):
                assert number in sections[found[1]], (number, found[1])


def test_nothing_is_left_to_fill_in() -> None:
    for page in ALL:
        assert not re.search(r"@[A-Z]+@|TODO|XXX", page.read_text()), page
