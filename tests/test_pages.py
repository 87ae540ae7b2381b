"""The two pages for people, in a real browser at the widths of a phone and of a desktop, light and dark.

Screenshots stay in tests/artifacts.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.browser import ARTIFACTS, browse, find_serious, open_page

CLASSES = tuple(f"class_{number:02}_of_a_long_name_that_can_not_be_broken" for number in range(60))
WIDTHS = {"phone": 390, "desktop": 1280}
# captions that lie over each other or reach out of the page, charts without height, the recall column's right edge
LOOK = """() => {
  const boxes = selector => [...document.querySelectorAll(selector)].map(node => node.getBoundingClientRect())
  const captions = boxes(".grid figcaption")
  const aside = (one, other) => one.right <= other.left || other.right <= one.left
  const apart = (one, other) => aside(one, other) || one.bottom <= other.top || other.bottom <= one.top
  return {
    width: document.documentElement.scrollWidth,
    flat: boxes("svg").filter(box => box.height < 50).length,
    charts: boxes("svg").length,
    collisions: captions.filter((box, index) => captions.slice(index + 1).some(other => !apart(box, other))).length,
    cut: [...document.querySelectorAll(".grid figcaption")].filter(node => node.scrollWidth > node.clientWidth).length,
    recall: Math.max(0, ...boxes(".confusion .sum").map(box => box.right)),
    unnamed: document.querySelectorAll("svg:not([aria-label])").length,
    fetched: performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:")),
    ground: getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number),
  }
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    ARTIFACTS.mkdir(exist_ok=True)
    with browse() as one:
        yield one


def training_page(folder: Path) -> Path:
    """Of a long job with many mistakes."""
    from train.outputs.evaluation import Evaluation, Mistake
    from train.outputs.html_report import write_report
    from train.outputs.metric_lines import EpochMetrics
    from train.runtime.dataset_info import ImageDatasetInfo

    generator = np.random.default_rng(0)
    history = [
        asdict(EpochMetrics(epoch, epoch * 390, 2 / epoch, 1 - 0.6 / epoch, 2.2 / epoch, 0.9 - 0.5 / epoch, 1000.0))
        for epoch in range(1, 31)
    ]
    picture = generator.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    mistakes = [Mistake(picture, label % 60, (label + 1) % 60, 0.9) for label in range(25)]
    confusion = generator.integers(0, 40, (60, 60)) + 900 * np.eye(60, dtype=np.int64)
    info = ImageDatasetInfo((32, 32, 3), CLASSES, source="synthetic", note="drawn shapes")
    facts = {f"setting-{number}": "a value " * number for number in range(12)}
    return write_report(folder, history, Evaluation(confusion, 0.5, mistakes), info, facts)


def tuning_page(folder: Path) -> Path:
    """Of twelve training jobs over three ranges."""
    from local_test.tuning.html_report import write_page
    from tests.support.pages import training_job, tuning_job

    children = [training_job(number, None if number == 5 else 0.5 + 0.03 * number) for number in range(1, 13)]
    for one in children:
        one["TrainingJobName"] = f"cv-keras-2026-11-25-21-37-29-816-{one['TrainingJobName']}-d4046401"
    children[4]["FailureReason"] = "AlgorithmError: " + "the loss is not finite. " * 8
    write_page(folder / "report.html", tuning_job(children), children)
    return folder / "report.html"


@pytest.mark.parametrize("make", [training_page, tuning_page], ids=["training", "tuning"])
def test_a_page_is_read_well(browser: Any, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """No sideways scrolling, no captions over each other, no serious finding of axe-core's, nothing fetched."""
    path = make(tmp_path)
    for name, width in WIDTHS.items():
        for scheme in ("light", "dark"):
            with open_page(
                browser, path.as_uri(), viewport={"width": width, "height": 800}, color_scheme=scheme
            ) as page:
                found = page.evaluate(LOOK)
                assert found["width"] <= width, found
                assert (found["flat"], found["collisions"], found["cut"], found["unnamed"]) == (0, 0, 0, 0), found
                assert found["charts"] >= 2
                assert found["recall"] <= width
                assert (sum(found["ground"]) < 150) == (scheme == "dark")
                assert find_serious(page) == []
                assert found["fetched"] == []
                page.screenshot(path=ARTIFACTS / f"{make.__name__}-{name}-{scheme}.png", full_page=True)
