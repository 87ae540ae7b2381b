"""A real browser, driven by Playwright: the system's Chromium, which nothing has to download."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.missing import missing

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"


def find_browser() -> str:
    """Its path; a test that needs one is skipped without."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or missing(f"no browser: none of {', '.join(BROWSERS)} is installed")


@contextmanager
def browse() -> Iterator[Any]:
    """A browser of Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Any, url: str, *, allowed: str = "^$", **context: Any) -> Iterator[Any]:
    """A page of its own context; what it asks is answered with yes. What it throws, or writes to its console as an
    error, fails the test, unless the regular expression `allowed` finds something in it."""
    own = browser.new_context(**context)
    page, errors = own.new_page(), []
    page.set_default_timeout(100_000)
    page.on("dialog", lambda dialog: dialog.accept())
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    try:
        page.goto(url)
        yield page
        assert [error for error in errors if not re.search(allowed, error)] == []
    finally:
        own.close()


def find_serious(page: Any) -> list[str]:
    """What axe-core finds that keeps people from using the page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
