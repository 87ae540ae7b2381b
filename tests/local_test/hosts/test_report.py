"""A job's own report as a file in a real browser: it works, and has no rights on this machine."""

from pathlib import Path

import pytest

from local_test.hosts.report import enclose, open_enclosed
from tests.support.browser import browse, find_serious, open_page

# what it could do, it writes into its own page
HOSTILE = """<!doctype html><title>"Quoted" & 'odd' &amp;lt;</title><h1>What it learnt – été</h1>
<a id="down" download="points.csv" href="data:text/csv,a">points</a> <a id="jump" href="#end">down</a>
<p id="own">scripts are off</p><p id="found"></p><div style="height: 3000px"></div><p id="end">the end</p><script>
document.getElementById("own").textContent = "scripts run"
const found = document.getElementById("found"), say = text => found.append(text, " ")
const tried = Promise.allSettled([
  fetch("secret.txt").then(answer => answer.text()).then(say),
  fetch("SECRET_URI").then(answer => answer.text()).then(say),
  new Promise((done, failed) => {
    const script = document.createElement("script")
    Object.assign(script, { src: "SECRET_URI", onload: () => { say("loaded"); done() }, onerror: failed })
    document.head.append(script)
  }),
  new Promise((done, failed) => {
    const image = new Image()
    Object.assign(image, { src: "SECRET_URI/../picture.svg", onload: () => { say("seen"); done() }, onerror: failed })
  }),
])
try { say(parent.document.title) } catch {}
try { top.location = "SECRET_URI" } catch {}
try { if (open("SECRET_URI")) say("opened") } catch {}
try { say(localStorage.length) } catch {}
tried.then(() => say("done"))
</script>"""


def test_its_scripts_run_without_rights(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    report = HOSTILE.replace("SECRET_URI", (tmp_path / "secret.txt").as_uri()).encode()
    path = tmp_path / "report.html"
    path.write_bytes(enclose(report))
    with browse() as browser, open_page(browser, path.as_uri(), allowed="") as page:
        frame = page.frame_locator("iframe")
        frame.get_by_text("done").wait_for()
        assert frame.locator("#found").text_content() == "done "
        assert frame.locator("#own").text_content() == "scripts run"
        assert frame.locator("h1").text_content() == "What it learnt – été"
        with page.expect_download() as download:
            frame.locator("#down").click()
        assert download.value.suggested_filename == "points.csv"
        frame.locator("#jump").click()
        page.frames[1].wait_for_function("scrollY > 1000")
        assert page.frames[1].evaluate("document.compatMode") == "CSS1Compat"
        assert page.url == path.as_uri()
        assert len(page.context.pages) == 1
        assert find_serious(page) == []


@pytest.mark.parametrize("report", [b"", HOSTILE.encode(), b'"></iframe><script>alert(1)</script>', b"&amp;lt;\r\n\0"])
def test_what_is_enclosed_is_found_again(report: bytes) -> None:
    assert open_enclosed(enclose(report)) == report
    assert open_enclosed(report) is None


def test_what_only_looks_enclosed_is_not() -> None:
    page = enclose(b"x")
    for forged in (page.replace(b'srcdoc="', b'srcdoc="x"><script>1</script><iframe srcdoc="'), page + b"<script>"):
        assert forged != page
        assert open_enclosed(forged) is None
    assert open_enclosed(enclose("été".encode("cp1252"))) == "été".encode()
