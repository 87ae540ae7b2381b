"""`train --ui` and `tune --ui` in a real browser: the page is there while the command's jobs run."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browse, open_page
from tests.support.command_line import finish, start, write_program
from tests.support.local_jobs import prepared_data_request
from tests.support.tuning import tuning_request

# until it is stopped
PROGRAM = "print('acc=0.5', flush=True)\nsignal.pause()\n"


def training_request() -> dict[str, Any]:
    request = {**prepared_data_request()}
    del request["InputDataConfig"]
    metric = {"Name": "accuracy", "Regex": r"acc=(\S+)"}
    request["AlgorithmSpecification"] = {**request["AlgorithmSpecification"], "MetricDefinitions": [metric]}
    return request


@contextmanager
def running(folder: Path, request: dict[str, Any], command: str, *arguments: str) -> Iterator[tuple[str, Any]]:
    """(address of the page, the command's process)."""
    write_program(folder, PROGRAM)
    (folder / "job.json").write_text(json.dumps(request))
    process = start(folder, command, "--job", "job.json", "--ui", *arguments, own=True)
    try:
        assert process.stderr
        said = ""
        while not (found := re.search(r"^Page, while .* runs?: (\S+)\n", said, re.MULTILINE)):
            line = process.stderr.readline()
            assert line, said
            said += line
        yield found[1], process
    finally:
        process.kill()
        process.communicate(timeout=200)


def test_a_training_job_is_followed_and_stopped(tmp_path: Path) -> None:
    with (
        running(tmp_path, training_request(), "train", "--name", "one") as (address, process),
        browse() as browser,
        open_page(browser, address) as page,
    ):
        page.get_by_role("img", name="accuracy. accuracy: 1 value").wait_for()
        page.get_by_label("Log", exact=True).filter(has_text="acc=0.5").wait_for()
        for view, empty in (("Tuning", "tuning"), ("Processing", "processing"), ("Pipelines", ""), ("Experiments", "")):
            page.get_by_role("link", name=view).click()
            page.get_by_text(f"No {empty or view[:-1].lower()}").wait_for()
        page.goto(address)
        page.get_by_role("button", name="Stop").click()
        assert "one: Stopped" in finish(process)[2]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=60)


def test_a_tuning_job_is_followed_and_stopped(tmp_path: Path) -> None:
    request = tuning_request(jobs=1)
    request["TrainingJobDefinition"]["OutputDataConfig"] = {"S3OutputPath": "s3://<bucket>/out"}
    with (
        running(tmp_path, request, "tune", "--root", "out") as (address, process),
        browse() as browser,
        open_page(browser, address) as page,
    ):
        page.get_by_role("link", name=re.compile("^tune-")).click()
        page.get_by_text("acc=0.5").wait_for()
        page.go_back()
        page.get_by_role("button", name="Stop").click()
        assert "tune: Stopped" in finish(process)[2]


def test_nothing_can_be_created_there(tmp_path: Path) -> None:
    with running(tmp_path, training_request(), "train") as (address, _):
        for operation, answer in (("CreateTrainingJob", 403), ("StopTrainingJob", 400), ("ListTrainingJobs", 403)):
            body = b'{"TrainingJobName": "other"}' if operation == "StopTrainingJob" else b"{}"
            headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
            asked = urllib.request.Request(address.partition("/training-jobs")[0] + "/", body, headers)
            try:
                with urllib.request.urlopen(asked, timeout=60) as response:
                    status = response.status
            except urllib.error.HTTPError as error:
                status = error.code
            assert status == answer, operation
