"""The two pages for people, in a real browser at the widths of a phone and of a desktop, light and dark.

Screenshots stay in tests/artifacts.
"""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import asdict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.support.missing import missing

ARTIFACTS = Path(__file__).parent / "artifacts"
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
CLASSES = tuple(f"{name} of a long name" for name in "abcdefghij")
WIDTHS = {"phone": 390, "desktop": 1280}
pytestmark = pytest.mark.timeout(150)
# A frame is as wide as it is told to be, which a window is not. What is wrong with the page inside is written down.
FRAME = """<!doctype html><body style="margin:0">
<iframe id="frame" src="{page}" style="border:0;width:{width}px;height:{height}px"></iframe>
<pre id="found"></pre><script>
addEventListener("load", () => {{
  const inside = document.getElementById("frame"), page = inside.contentDocument, root = page.documentElement
  const scrolls = node => node && (getComputedStyle(node).overflowX !== "visible" || scrolls(node.parentElement))
  const wide = [...page.querySelectorAll("body *")].filter(node => !scrolls(node))
    .filter(node => node.getBoundingClientRect().right > {width} + 0.5).map(node => node.tagName)
  const flat = [...page.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().height < 50).length
  document.getElementById("found").textContent = JSON.stringify({{
    width: inside.contentWindow.innerWidth, content: root.scrollWidth, wide, flat,
    charts: page.querySelectorAll("svg").length, height: root.scrollHeight,
    ground: inside.contentWindow.getComputedStyle(page.body).backgroundColor}})
}})
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        missing(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


def training_page(folder: Path) -> Path:
    """Of a long job with many mistakes."""
    from train.outputs.evaluation import Evaluation, Mistake
    from train.outputs.html_report import write_report
    from train.outputs.metric_lines import EpochMetrics

    generator = np.random.default_rng(0)
    history = [
        asdict(EpochMetrics(epoch, epoch * 390, 2 / epoch, 1 - 0.6 / epoch, 2.2 / epoch, 0.9 - 0.5 / epoch, 1000.0))
        for epoch in range(1, 31)
    ]
    picture = generator.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    mistakes = [Mistake(picture, label % 10, (label + 1) % 10, 0.9) for label in range(25)]
    confusion = generator.integers(0, 40, (10, 10)) + 900 * np.eye(10, dtype=np.int64)
    facts = {f"setting-{number}": "a value " * number for number in range(12)}
    return write_report(folder, history, Evaluation(confusion, 0.5, mistakes), CLASSES, facts)


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


class Handler(SimpleHTTPRequestHandler):
    """Remembers what was asked for."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """(address of tmp_path, paths that were asked for)."""

    def handler(*arguments: object) -> Handler:
        return Handler(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [training_page, tuning_page], ids=["training", "tuning"])
def test_a_page_is_read_well(browser: str, served, tmp_path: Path, make, width: str, scheme: str) -> None:
    address, asked = served
    page = make(tmp_path)
    (tmp_path / "frame.html").write_text(FRAME.format(page=page.name, width=WIDTHS[width], height=800))
    document = looked(browser, tmp_path, scheme, f"{address}/frame.html", "--dump-dom")
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', document).group(1))
    assert found["width"] == WIDTHS[width]
    assert found["content"] <= WIDTHS[width], found
    assert (found["wide"], found["flat"]) == ([], 0)
    assert found["charts"] >= 2
    ground = [int(value) for value in re.findall(r"\d+", found["ground"])[:3]]
    assert (sum(ground) < 150) == (scheme == "dark"), ground
    assert {path for path in asked if path != "/favicon.ico"} == {"/frame.html", "/report.html"}

    ARTIFACTS.mkdir(exist_ok=True)
    picture = ARTIFACTS / f"{make.__name__}-{width}-{scheme}.png"
    picture.unlink(missing_ok=True)
    whole = FRAME.format(page=page.name, width=WIDTHS[width], height=found["height"])
    (tmp_path / "whole.html").write_text(whole)  # of another name: the first is in the browser's cache
    size = f"--window-size={max(500, WIDTHS[width])},{found['height']}"
    looked(browser, tmp_path, scheme, f"{address}/whole.html", size, f"--screenshot={picture}")
    assert picture.stat().st_size > 10_000


def looked(browser: str, folder: Path, scheme: str, address: str, *options: str) -> str:
    """The document after its scripts; a profile of its own, so that no other browser is met."""
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        *options, address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
