"""The page in a real browser while real jobs run. Screenshots stay in tests/artifacts."""

import io
import re
import sys
import tarfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.browser import ARTIFACTS, browse, find_serious, open_page
from tests.support.executions import (
    condition_step,
    create_pipeline,
    equals,
    fail_step,
    get,
    job_name,
    start,
    steps,
    train_step,
    wait_for_step,
)
from tests.support.executions import ended as ended_execution
from tests.support.served import BUCKET, ROLE, WAIT, Served, ended, request, until
from tests.support.tuning import tuning_request

PHONE = {"width": 390, "height": 900}
METRICS = [{"Name": "loss", "Regex": r"loss=(\S+)"}, {"Name": "accuracy", "Regex": r"accuracy=(\S+)"}]
HOSTILE = "<img src=x onerror=document.title='taken'>"
# prints when it printed: what the page shows can be compared with that
TRAINS = f"""
print("\\x1b[32m" {HOSTILE!r}, flush=True)
for step in range(30):
    print(f"loss={{3 / (step + 1)}} accuracy={{1 - 1 / (step + 1)}}", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    time.sleep(0.2)
    if (BASE / "model/go").exists(): (BASE / "model/go").unlink(); print("loss=0.01 accuracy=0.99", flush=True)
"""
LEAVES_REPORT = """
print("loss=0.5 accuracy=0.5", flush=True)
(BASE / "output/data").mkdir(parents=True, exist_ok=True)
(BASE / "output/data/report.html").write_text("<h1>What it learnt</h1><script>parent.document.title='taken'</script>")
(BASE / "model").mkdir(exist_ok=True)
(BASE / "model/weights").write_text("w")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    ARTIFACTS.mkdir(exist_ok=True)
    with browse() as one:
        yield one


def create(served: Served, name: str, program: str, **members: Any) -> Any:
    client = served.client("sagemaker")
    hyperparameters = {"epochs": "3", "note": HOSTILE, "long" * 30: "x" * 300}
    made = request(name, program, **{"HyperParameters": hyperparameters, **members})
    made["AlgorithmSpecification"]["MetricDefinitions"] = METRICS
    client.create_training_job(**made)
    return client


def shown_within(seconds: float, page: Any, folder: Path, count: int) -> bool:
    """Whether the page shows value number `count` so soon after the platform has it. A machine with much else to do is
    late now and then, and not each time."""
    (folder / "algo-1/opt/ml/model/go").touch()
    until(lambda: (folder / "metrics.csv").read_text().count("\n") == 1 + 2 * count)
    came = time.monotonic()
    page.get_by_role("img", name=f"loss. loss: {count} values, 0.01 at {count - 1}").wait_for()
    return time.monotonic() - came < seconds


def url(served: Served, path: str) -> str:
    return served.exports["AWS_ENDPOINT_URL"] + path


def test_a_job_is_followed_and_stopped(served: Served, browser: Any) -> None:
    client = create(served, "followed", TRAINS)
    with open_page(browser, url(served, "/")) as page:
        page.get_by_role("link", name="followed").click()
        page.get_by_role("img", name="loss. loss: 30 values").wait_for()
        page.get_by_label("Log", exact=True).filter(has_text=HOSTILE).wait_for()
        assert HOSTILE in page.get_by_label("Log", exact=True).inner_text().splitlines(), "text, not an element"
        assert page.get_by_text("accuracy", exact=True).is_visible()
        assert any(shown_within(2, page, served.root / "training/followed", count) for count in range(31, 41))
        with page.expect_event("dialog") as asked:
            page.get_by_role("button", name="Stop").click()
        assert asked.value.message.startswith("Stop followed?")
        page.get_by_text("Stopped", exact=True).wait_for()
        assert page.title() == "followed · Local SageMaker"
    assert ended(client, "followed")["TrainingJobStatus"] == "Stopped"


def test_a_list_that_changes_leaves_the_focus_where_it_is(served: Served, browser: Any) -> None:
    """And what is no number is told as that."""
    create(served, "kept", "print('loss=1 accuracy=0')\nprint('loss=nan accuracy=inf')")
    with open_page(browser, url(served, "/")) as page:
        box = page.get_by_label("compare kept")
        box.focus()
        page.keyboard.press("Space")
        ended(create(served, "newer", ""), "newer")
        page.get_by_role("row", name=re.compile("newer .*Completed")).wait_for()
        assert page.evaluate("document.activeElement.value") == "kept"
        assert box.is_checked()
        page.get_by_role("link", name="kept").press("Enter")
        page.get_by_role("img", name="loss. loss: 2 values, not a number at 1").wait_for()
        page.get_by_label("Logarithmic").check()
        page.get_by_role("img", name="accuracy. accuracy: 2 values, not a number at 1").wait_for()


# as a browser does with a tab that another one covers; the headless one takes all of them for seen
HIDES = """
let hidden = false
Object.defineProperty(document, "hidden", { get: () => hidden })
window.hide = value => { hidden = value; document.dispatchEvent(new Event("visibilitychange")) }
"""
PRINTS = 'for line in range(500): print("line", line)\nprint("ready", flush=True)\nsignal.pause()'


def test_tabs_that_are_not_seen_leave_their_connection_to_others(served: Served, browser: Any) -> None:
    """A browser has six for all of them. Who comes back finds what is new, and the place in the log."""
    client = create(served, "in-tabs", PRINTS)
    with open_page(browser, url(served, "/training-jobs/in-tabs")) as first:
        first.context.add_init_script(HIDES)
        first.reload()
        first.get_by_text("ready").wait_for()
        log = first.get_by_label("Log", exact=True)
        log.evaluate("log => { log.scrollTop = 120 }")
        first.evaluate("hide(true)")
        for _ in range(7):
            tab = first.context.new_page()
            tab.goto(url(served, "/training-jobs/in-tabs"))
            tab.get_by_text("ready").wait_for(timeout=20_000)
            tab.evaluate("hide(true)")
        client.stop_training_job(TrainingJobName="in-tabs")
        ended(client, "in-tabs")
        first.evaluate("hide(false)")
        first.get_by_text("Stopped", exact=True).wait_for()
        assert log.inner_text().count("ready") == 1
        assert log.evaluate("log => log.scrollTop") == 120


def test_the_address_of_what_is_not_there_says_so(served: Served, browser: Any) -> None:
    """And leads back; one that can't be read is one of them."""
    with open_page(browser, url(served, "/training-jobs/nosuch?region=xx-nosuch-1"), allowed="404") as page:
        page.get_by_text("There is no job of this name here").wait_for()
        assert page.get_by_text("not connected").count() == 0
        page.get_by_role("link", name="All jobs").click()
        page.get_by_text("This server has nothing in the region. Received: xx-nosuch-1").wait_for()
        page.get_by_role("link", name="Training jobs of the server's own region").click()
        page.get_by_role("heading", name="Training jobs").wait_for()
        others = {
            "experiments/nosuch": "experiment",
            "pipelines/nosuch": "pipeline",
            "tuning-jobs/nosuch": "tuning job",
        }
        for path, what in {"training-jobs/%zz": "job", "pipelines/nosuch/x": "such execution", **others}.items():
            page.goto(url(served, f"/{path}"))
            page.get_by_text(re.compile(f"There is no {what}( of this name)? here")).wait_for()


def test_what_is_deleted_while_it_is_shown_says_so(served: Served, browser: Any) -> None:
    """And one of the name that comes afterwards is another one."""
    client = create(served, "deleted", "print('loss=1 accuracy=0')", HyperParameters={"rate": "0.125", "same": "1"})
    ended(create(served, "stays", "print('loss=2 accuracy=0')", HyperParameters={"rate": "0.25", "same": "1"}), "stays")
    ended(client, "deleted")
    ended(create(served, "third", "print('loss=4 accuracy=0')", HyperParameters={"rate": "0.5", "same": "1"}), "third")
    with open_page(browser, url(served, "/training-jobs/stays?with=deleted&with=third")) as page:
        page.get_by_role("img", name="loss. stays: 1 values, 2 at 0. deleted: 1 values, 1 at 0").wait_for()
        page.get_by_role("row", name=re.compile("third .*0.5")).wait_for()
        page.get_by_role("row", name=re.compile("deleted .*0.125")).wait_for()
        assert page.get_by_role("columnheader").all_inner_texts()[-1] == "rate", "what is not the same for all"
        client.delete_training_job(TrainingJobName="deleted")
        page.get_by_text("deleted is not here").wait_for()
        create(served, "deleted", "print('loss=3 accuracy=0')")
        page.get_by_role("img", name="loss. stays: 1 values, 2 at 0. deleted: 1 values, 3 at 0").wait_for()
        ended(client, "deleted")
        client.delete_training_job(TrainingJobName="stays")
        page.get_by_text("There is no job of this name here").wait_for()


def test_what_a_job_leaves_is_one_click_away(served: Served, browser: Any) -> None:
    client = create(served, "leaves", LEAVES_REPORT)
    ended(client, "leaves")
    assert "&lt;h1&gt;What it learnt" in (served.root / "training/leaves/report.html").read_text()
    with open_page(browser, url(served, "/training-jobs/leaves"), allowed="Blocked script execution") as page:
        with page.expect_download() as download:
            page.get_by_role("link", name="model.tar.gz").click()
        with tarfile.open(fileobj=io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
            assert "weights" in [Path(name).name for name in archive.getnames()]
        page.get_by_text("report.html").click()
        report = page.frame_locator("iframe[title=Report]")
        assert report.get_by_role("heading").inner_text() == "What it learnt"
        assert page.title() == "leaves · Local SageMaker"


# the least contrast of a line's colour with the page, as WCAG defines it
CONTRAST = """async () => {
  const { colorOf } = await import("/.page/chart.js")
  const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  const weights = [0.2126, 0.7152, 0.0722]
  const light = rgb => rgb.reduce((sum, part, index) => sum + weights[index] * linear(part / 255), 0.05)
  const page = light(getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number))
  const parse = color => color.match(/[\\da-f]{2}/g).map(part => parseInt(part, 16))
  const lines = [...Array(8).keys()].map(index => light(parse(colorOf(index))))
  return Math.min(...lines.map(line => Math.max(line, page) / Math.min(line, page)))
}"""


@pytest.mark.slow
def test_it_looks_well_at_each_width_light_and_dark(served: Served, browser: Any) -> None:
    """No sideways scrolling, no serious finding of axe-core's; screenshots for people."""
    client = create(served, "looks-well-" + "x" * 40, LEAVES_REPORT.replace("print(", "1 / 0; print(", 1))
    create(served, "looks-well-too", TRAINS.replace("while True", "while False"))
    for name in ("looks-well-" + "x" * 40, "looks-well-too"):
        ended(client, name)
    paths = {
        "jobs": "/", "job": f"/training-jobs/looks-well-too?with={'looks-well-' + 'x' * 40}",
        "failed": f"/training-jobs/{'looks-well-' + 'x' * 40}",
    }  # fmt: skip
    for name, path in paths.items():
        for width in (390, 1280):
            for scheme in ("light", "dark"):
                size = {"width": width, "height": 900}
                with open_page(browser, url(served, path), viewport=size, color_scheme=scheme) as page:
                    page.get_by_role("heading", level=1).wait_for()
                    page.get_by_text("Completed" if name == "job" else "Failed").first.wait_for()
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
                    assert page.evaluate(CONTRAST) >= 3
                    assert find_serious(page) == []
                    page.screenshot(path=ARTIFACTS / f"page-{name}-{width}-{scheme}.png", full_page=True)


def test_a_tuning_job_with_its_report(served: Served, browser: Any) -> None:
    client = served.client("sagemaker")
    wanted = tuning_request(jobs=2)
    own = request("x", "print('acc=0.5')")
    for member in ("OutputDataConfig", "Environment"):
        wanted["TrainingJobDefinition"][member] = own[member]
    client.create_hyper_parameter_tuning_job(**wanted)
    with open_page(browser, url(served, "/tuning-jobs"), viewport=PHONE) as page:
        page.get_by_role("link", name="tune", exact=True).click()
        page.get_by_text("Completed", exact=True).nth(2).wait_for()
        report = page.frame_locator("iframe[title='Tuning report']")
        report.get_by_role("heading", name="Best acc: 0.5").wait_for()
        assert find_serious(page) == []
        page.screenshot(path=ARTIFACTS / "page-tuning.png", full_page=True)


def create_run(client: Any, trial: str, number: int) -> str:
    """As a client that is no job makes it."""
    name = f"run-{number}"
    client.create_trial_component(
        TrialComponentName=name,
        DisplayName=f"trial-{number}",
        Status={"PrimaryStatus": "InProgress"},
        Parameters={"rate": {"NumberValue": number / 4}, "note": {"StringValue": HOSTILE}},
    )
    client.associate_trial_component(TrialComponentName=name, TrialName=trial)
    return name


def log_metric(served: Served, run: str, *values: tuple[int, float]) -> None:
    data = [
        {"MetricName": "loss", "Timestamp": 1_700_000_000 + step, "Step": step, "Value": value}
        for step, value in values
    ]
    served.client("sagemaker-metrics").batch_put_metrics(TrialComponentName=run, MetricData=data)


def test_experiments_and_their_runs_come_change_and_go(served: Served, browser: Any) -> None:
    """However many; chosen ones are compared, each value as it comes."""
    client = served.client("sagemaker")
    for number in range(12):
        client.create_experiment(ExperimentName=f"other-{number}")
    with open_page(browser, url(served, "/experiments"), viewport=PHONE) as page:
        page.get_by_role("link", name="other-0").wait_for()
        client.create_experiment(ExperimentName="compared")
        client.create_trial(TrialName="group", ExperimentName="compared")
        page.get_by_role("link", name="compared").click()  # without a reload
        page.get_by_text("No run yet.").wait_for()
        runs = [create_run(client, "group", number) for number in range(103)]
        page.get_by_role("button", name="Show more (100 of 103)").click()
        page.get_by_role("row", name=re.compile("trial-0 ")).wait_for()
        page.get_by_role("button", name="rate").click()
        page.get_by_role("button", name="rate").click()
        assert page.locator("tbody tr").first.inner_text().startswith("\ttrial-0\t")
        page.get_by_label("find in Runs by name").fill("trial-10")
        page.get_by_role("row", name=re.compile("trial-10")).nth(3).wait_for()
        assert page.locator("tbody tr").count() == 4, "and those of 100"
        page.reload()
        page.get_by_role("row", name=re.compile("trial-10")).nth(3).wait_for()
        page.get_by_label("find in Runs by name").fill("")
        log_metric(served, runs[0], (0, 0.75))
        page.get_by_role("row", name=re.compile("trial-0 .*InProgress.*0.75")).wait_for()
        page.get_by_label("compare trial-0", exact=True).check()
        page.get_by_label("compare trial-1", exact=True).check()
        page.get_by_role("button", name="Compare").click()
        page.get_by_role("img", name="loss. trial-0: 1 values, 0.75 at 0").wait_for()
        log_metric(served, runs[0], (5, 0.25), (2, 0.5))
        log_metric(served, runs[1], (1, 3.0))
        chart = page.get_by_role("img", name="loss. trial-0: 3 values, 0.25 at 5. trial-1: 1 values, 3 at 1")
        chart.press("ArrowDown")  # one line alone, another one, a place on it, all of them
        page.get_by_role("img", name=re.compile("^loss. trial-0: 3 values, 0.25 at 5$")).press("ArrowDown")
        page.get_by_role("img", name=re.compile("^loss. trial-1: 1 values, 3 at 1$")).press("ArrowUp")
        page.get_by_role("img", name=re.compile("^loss. trial-0: 3 values, 0.25 at 5$")).press("ArrowRight")
        page.get_by_role("img", name=re.compile("^loss. trial-0: 3 values, 0.75 at 0$")).press("Escape")
        page.get_by_role("img", name="loss. trial-0: 3 values, 0.75 at 0. trial-1: 1 values, 3 at 1").wait_for()
        assert page.locator("tbody tr").count() == 2
        assert urlsplit(page.url).query == "run=run-0&run=run-1"
        assert page.title() == "compared · Local SageMaker"
        assert find_serious(page) == []
        page.screenshot(path=ARTIFACTS / "page-runs.png", full_page=True)
        client.disassociate_trial_component(TrialComponentName="run-1", TrialName="group")
        page.get_by_text("The run run-1 is not here").wait_for()
        page.get_by_role("link", name="All runs").click()
        page.get_by_role("button", name="Show more (100 of 102)").wait_for()
    with open_page(browser, url(served, "/experiments/nosuch"), allowed="404") as page:
        page.get_by_text("There is no experiment of this name here").wait_for()


def test_a_pipeline_on_its_graph(served: Served, browser: Any) -> None:
    """Each step's state and job, a branch not taken, a stop; the processing job that a step may have made."""
    client = served.client("sagemaker")
    check = condition_step(
        "Check",
        [equals(get("Steps.First.TrainingJobStatus"), "Completed")],
        [train_step("Then", WAIT)],
        [fail_step("Otherwise", HOSTILE)],
    )
    create_pipeline(
        client, "drawn", [train_step("First"), check], {"Name": "Go", "Type": "String", "DefaultValue": HOSTILE}
    )
    arn = start(client, "drawn", {"Go": HOSTILE})
    wait_for_step(client, arn, "Then")
    with open_page(browser, url(served, "/pipelines"), viewport=PHONE) as page:
        page.get_by_role("link", name="drawn", exact=True).click()
        page.get_by_role(
            "img", name="Graph: First; Check after First; Then after Check; Otherwise after Check"
        ).wait_for()
        page.get_by_role("link", name=re.compile("^execution-")).click()
        page.get_by_role("row", name=re.compile("Then Training .*Executing")).wait_for()
        assert page.locator(".graph .node.Succeeded").count() == 2
        assert page.locator(".graph .node.Executing").count() == 1
        assert page.get_by_role("cell", name=HOSTILE).is_visible()
        assert find_serious(page) == []
        page.screenshot(path=ARTIFACTS / "page-pipeline.png", full_page=True)
        page.get_by_role("link", name=job_name(steps(client, arn)["Then"])).click()
        page.get_by_text("ready").wait_for()
        page.go_back()
        graph = page.get_by_role("region", name="Graph")
        graph.evaluate("graph => { graph.isKept = true }")
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("row", name=re.compile("Then Training .*Stopped")).wait_for()
        assert graph.locator(".node.Stopped").count() == 1
        assert graph.evaluate("graph => graph.isKept"), "its place and the focus stay as its drawing changes"
        page.get_by_text("Stopped", exact=True).first.wait_for()
    assert ended_execution(client, arn)["PipelineExecutionStatus"] == "Stopped"


def test_a_processing_job_is_followed(served: Served, browser: Any) -> None:
    client = served.client("sagemaker")
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    client.create_processing_job(
        ProcessingJobName="processed", RoleArn=ROLE, ProcessingResources={"ClusterConfig": cluster},
        AppSpecification={"ImageUri": "image", "ContainerEntrypoint": [sys.executable, "-c", f"print({HOSTILE!r})"]},
    )  # fmt: skip
    with open_page(browser, url(served, "/processing-jobs"), viewport=PHONE) as page:
        page.get_by_role("link", name="processed").click()
        page.get_by_text("Completed", exact=True).wait_for()
        page.get_by_label("Log", exact=True).filter(has_text=HOSTILE).wait_for()
        assert HOSTILE in page.get_by_label("Log", exact=True).inner_text().splitlines()
        assert page.get_by_role("cell", name="image", exact=True).is_visible()
        assert find_serious(page) == []


def test_another_region_is_chosen_and_has_an_address(served: Served, browser: Any) -> None:
    there = served.client("sagemaker", "eu-west-1")
    there.create_training_job(**request("elsewhere", WAIT))
    with open_page(browser, url(served, "/")) as page:
        page.get_by_label("Region").select_option("eu-west-1")
        page.get_by_role("link", name="elsewhere").click()
        page.get_by_text("ready").wait_for()
        assert urlsplit(page.url).query == "region=eu-west-1"
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped", exact=True).wait_for()
    assert ended(there, "elsewhere")["TrainingJobStatus"] == "Stopped"
    assert fetch(served, "/.page/feed?region=us-west-2")[0] == 404
    assert not (served.root / "regions/us-west-2").exists(), "to look makes nothing"


def test_health_and_the_page_are_no_buckets(served: Served) -> None:
    """S3's clients get S3 at the same addresses, and a job that is not there is not found."""
    assert fetch(served, "/health") == (200, '{"status": "ok"}\n')
    assert fetch(served, "/")[1].startswith("<?xml")
    assert fetch(served, "/training-jobs/nosuch")[0] == 404, "a bucket that does not exist"
    assert fetch(served, "/training-jobs/nosuch", Accept="text/html")[1].startswith("<!doctype html>")
    for path in (
        "training-jobs/nosuch", "training-jobs/..%2f..", "training-jobs/nosuch/model.tar.gz", "feed?job=nosuch",
        "tuning-jobs/nosuch/report.html", "..%2fsite.py", "nosuch.js", "feed?list=nosuch",
        "feed?list=experiments/nosuch", "feed?list=pipelines/nosuch/nosuch", "pipelines/nosuch",
    ):  # fmt: skip
        assert fetch(served, f"/.page/{path}")[0] == 404, path


def fetch(served: Served, path: str, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(served.exports["AWS_ENDPOINT_URL"]).netloc, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
