"""The way back to a job: the same commands for folders, for jobs of another process, for a server by AWS's shapes."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_test.cli.jobs import _format_jobs
from local_test.cli.main import main
from local_test.data.object_store import ObjectStore
from local_test.hosts.report import open_enclosed
from local_test.places.base import Job
from local_test.places.folders import FolderPlace, open_folders
from local_test.request.job_kind import TRAINING
from local_test.runners.process import ProcessRunner
from local_test.training.job import TrainingJob
from tests.support.command_line import finish, start, write_program
from tests.support.local_jobs import request_for
from tests.support.processing import processed, processing_request, put_program
from tests.support.programs import write_executable
from tests.support.served import BUCKET, ROOT, WAIT, Served, ended, printed, request, until

Run = Callable[..., tuple[int, str, str]]
DONE = """
print('plain acc=0.25 loss=2')
print('\\x9b31mred \\u202e acc=0.5 loss=1')
(BASE / 'output/data/report.html').write_text('<h1>done</h1>')
(BASE / 'model/m').write_text('m')
"""
METRICS = [{"Name": "validation:acc", "Regex": "acc=([0-9.]+)"}, {"Name": "loss", "Regex": "loss=([0-9.]+)"}]


def definition(mode: str = "Pipe") -> dict[str, Any]:
    return {"TrainingImage": "image", "TrainingInputMode": mode, "MetricDefinitions": METRICS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with one job that is over, as `train` leaves it."""
    path = tmp_path_factory.mktemp("commands")
    write_program(path, DONE)
    wanted = request_for(
        "done", path / "jobs", AlgorithmSpecification=definition(), HyperParameters={"a": "x\x1b[2Jy\u202e"}
    )
    runner = ProcessRunner(os.environ, path, [str(path / "train.py")])
    TrainingJob(wanted, path / "jobs", runner, ObjectStore(), {}).run()
    return path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A command in the working folder: (exit code, output, error). No server of this machine is asked by chance."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("local_test.places.finder.DEFAULT_URL", "http://127.0.0.1:1")
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", out + err), (out, err)
        return code, out, err

    return command


def test_jobs_of_a_folder(run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder / "jobs/done", tmp_path / "jobs/done")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("jobs")
    assert (code, err) == (0, "local_test: 1 job in folder jobs\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  done  Completed  \d+:\d\d  validation:acc=0.5\n", out)
    code, out, err = run("jobs", "--json", "--out", "jobs")
    (found,) = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["kind"], found["name"], found["status"]) == ("training", "done", "Completed")
    assert found["metric"] == {"name": "validation:acc", "value": 0.5}
    assert found["options"] == ["--out", "jobs"]
    assert run("jobs", "--kind", "tuning") == (0, "", "local_test: no jobs in folder jobs\n")
    assert run("jobs", "--out", "none") == (2, "", "local_test: There is no such folder of jobs. Received: none\n")


def test_a_row_on_a_narrow_terminal_is_two_lines(folder: Path) -> None:
    place = FolderPlace(folder / "jobs", Path("jobs"))
    description = place.describe(TRAINING, "done")
    assert description
    job = Job(place, TRAINING, {**description, "TrainingJobName": "x" * 63})
    wide, narrow = _format_jobs([job], None), _format_jobs([job], 45)
    assert len(wide) == 1
    assert narrow[0] == "x" * 63
    assert narrow[1].startswith("  2")
    assert _format_jobs([job], 200) == wide


def test_a_description(run: Run) -> None:
    code, out, _ = run("describe", "done")
    lines = out.splitlines()
    assert code == 0
    assert "metrics          validation:acc=0.5  loss=1" in lines
    assert r"hyperparameters  a=x\x1b[2Jy\u202e" in lines
    assert "log              python -m local_test logs done --out jobs" in lines
    assert not any(line.startswith("stop") for line in lines)
    code, out, err = run("describe", "done", "--json")
    assert (code, err, json.loads(out)["TrainingJobStatus"]) == (0, "", "Completed")


def test_a_log_and_a_job_that_is_over_followed(run: Run) -> None:
    lines = ["plain acc=0.25 loss=2", r"\x9b31mred \u202e acc=0.5 loss=1"]
    for command in (("logs", "done"), ("logs", "-f", "done")):
        code, out, _ = run(*command)
        assert (code, out.splitlines()) == (0, lines)
    code, out, err = run("attach", "done")
    assert (code, out.splitlines()) == (0, lines)
    states = [line.split()[2] for line in err.splitlines() if re.match(r"\d{4}-", line)]
    assert states == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert "done: Completed\n" in err
    assert "Logs, metrics and artifacts: jobs/done\n" in err


def test_what_is_over_can_not_be_stopped_or_interrupted(run: Run) -> None:
    assert run("stop", "done") == (
        2, "", "local_test: This job can't be stopped: it is Completed. Received: done\n"
    )  # fmt: skip
    code, out, err = run("interrupt", "done")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "No program runs this job any more. Received: done, see jobs/done" in err


def test_a_report_and_the_browser(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = folder / "browser"
    write_executable(browser, '#!/bin/sh\necho "$1" >> opened\n')
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert run("report", "done", "--open") == (0, "jobs/done/report.html\n", "")
    opened = folder / "opened"
    until(lambda: opened.exists() and opened.read_text().endswith("\n"))
    assert opened.read_text() == f"{(folder / 'jobs/done/report.html').as_uri()}\n"
    assert run("report", "done", "--to", "copy.html") == (0, "copy.html\n", "")
    assert open_enclosed((folder / "copy.html").read_bytes()) == b"<h1>done</h1>"
    # one that an earlier version kept as the job wrote it is not opened as it is
    kept = folder / "jobs/done/report.html"
    enclosed = kept.read_bytes()
    kept.write_text("<h1>done</h1>")
    assert run("report", "done") == (0, "done-report.html\n", "")
    assert (folder / "done-report.html").read_bytes() == enclosed
    code, _, err = run("report", "done", "--to", "no/copy.html")
    assert (code, err) == (
        2,
        "local_test: The report can't be written: No such file or directory. Received: no/copy.html\n",
    )


@pytest.mark.parametrize("name", ["none", "../jobs/done", "a\x1b[2Jb", "", "x" * 64, "done\n"])
def test_a_job_that_is_not_there(run: Run, name: str) -> None:
    for command in ("describe", "logs", "attach", "stop", "interrupt", "report"):
        code, out, err = run(command, name)
        assert (code, out) == (2, "")
        assert "of this name in folder jobs. Received: " in err
        assert (
            "Did you mean done?"
            if "/" in name
            else "Elsewhere: --region REGION, --endpoint-url URL, --out DIR or --aws"
        ) in err


def test_a_server_that_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is named is needed; one of the environment is not, while the job is found elsewhere."""
    code, out, err = run("stop", "done", "--endpoint-url", "http://127.0.0.1:1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "SageMaker can't be asked: Could not connect" in err
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    code, out, err = run("describe", "done", "--json")
    assert (code, json.loads(out)["TrainingJobStatus"]) == (0, "Completed")
    assert err.startswith("local_test: no server answers at http://127.0.0.1:1, which AWS_ENDPOINT_URL names: ")


def test_aws_without_credentials_is_a_line(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the address of a server is not taken for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    code, out, err = run("jobs", "--aws", "--region", "eu-west-1")
    assert (code, out) == (2, "")
    assert err == "local_test: SageMaker can't be asked: Unable to locate credentials. See `aws configure`\n"
    assert "--endpoint-url" in run("jobs", "--aws", "--out", "jobs")[2]


def test_a_damaged_job_is_left_out(run: Run, folder: Path) -> None:
    for name, text in (("bad", "{"), ("other", (folder / "jobs/done/describe.json").read_text()), ("list", "[]")):
        (folder / "damaged" / name).mkdir(parents=True)
        (folder / "damaged" / name / "describe.json").write_text(text)
    (folder / "damaged/fifo").mkdir()
    os.mkfifo(folder / "damaged/fifo/describe.json")  # nobody waits for it
    code, out, err = run("jobs", "--out", "damaged")
    assert (code, out) == (0, "")
    assert err.count("can't be read, so it is left out") == 3
    assert err.endswith("local_test: no jobs in folder damaged\n")


WAITS = """
saved = BASE / 'checkpoints/saved'
def leave(*_):
    saved.write_text('x')
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('acc=0.75 again' if saved.exists() else 'acc=0.5 first', flush=True)
signal.pause()
"""


def job_file(path: Path, **members: Any) -> Path:
    spot = {"EnableManagedSpotTraining": True}
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600}}
    wanted = request_for("<name>", Path("/out"), AlgorithmSpecification=definition(), **spot, **limits, **members)
    wanted["OutputDataConfig"] = {"S3OutputPath": "s3://<bucket>/out"}
    (path / "job.json").write_text(json.dumps(wanted))
    return path / "job.json"


def read_until(stream: Any, text: str) -> str:
    seen = ""
    for line in iter(stream.readline, ""):
        seen += line
        if text in line:
            return seen
    raise AssertionError(seen)


def test_a_job_of_another_process(run: Run, folder: Path) -> None:
    """`train` runs it here, and is seen, followed, left, interrupted and stopped from there."""
    write_program(folder, WAITS)
    kept = {"CheckpointConfig": {"S3Uri": "s3://<bucket>/checkpoints"}}
    train = start(folder, "train", "--job", str(job_file(folder, **kept)), "--name", "runs", own=True)
    read_until(train.stdout, "acc=0.5 first")
    code, out, _ = run("jobs")
    assert code == 0
    assert re.search(r"  runs +InProgress \(Training\) +\d+:\d\d +validation:acc=0.5\n", out), out

    follower = start(folder, "logs", "-f", "runs")
    read_until(follower.stdout, "acc=0.5 first")
    follower.send_signal(signal.SIGINT)
    code, _, err = finish(follower)
    assert code == 130
    assert "runs goes on. Follow it with python -m local_test attach runs --out jobs\n" in err
    last = err.splitlines()[-1]
    assert last == "Stop it with python -m local_test stop runs --out jobs", err
    stop = shlex.split(last.removeprefix("Stop it with python -m local_test"))

    attached = start(folder, "attach", "runs")
    read_until(attached.stdout, "acc=0.5 first")
    code, _, err = run("interrupt", "runs")
    assert code == 0
    assert err.startswith("runs: its spot instances are taken away")
    read_until(attached.stdout, "acc=0.75 again")

    code, out, err = run(*stop)
    assert (code, out) == (0, ""), err
    assert re.match(r"runs: Stop(ping|ped)", err)
    assert "Follow it with python -m local_test attach runs --out jobs" in err
    assert finish(train)[0] == 130
    code, out, err = finish(attached)
    assert (code, out) == (130, "")
    assert [line.split()[2] for line in err.splitlines() if re.match(r"\d{4}-", line)][2:] == [
        "Training", "Interrupted", "Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped",
    ]  # fmt: skip
    assert "runs: Stopped\n" in err


@pytest.mark.parametrize("command", ["logs -f", "attach"])
def test_a_follower_that_nobody_reads_ends(run: Run, folder: Path, command: str) -> None:
    """And where the job's own program was killed, the job is over, whatever its last description says."""
    write_program(folder, WAITS)
    name = f"unread-{command[0]}"
    train = start(folder, "train", "--job", str(job_file(folder)), "--name", name, own=True)
    read_until(train.stdout, "acc=0.5 first")
    words = f"{shlex.quote(sys.executable)} -m local_test {command} {name} | head -1"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, shell=True, cwd=folder, capture_output=True, text=True, timeout=200, env=environ)
    assert done.stdout == "acc=0.5 first\n"
    assert "Traceback" not in done.stderr
    train.kill()
    train.communicate(timeout=200)

    assert json.loads((folder / f"jobs/{name}/describe.json").read_text())["TrainingJobStatus"] == "InProgress"
    code, out, _ = run("describe", name)
    assert code == 0
    assert re.search(r"^status +Failed$", out, re.MULTILINE)
    assert "The program that ran the job has ended before it. Start the job again" in out
    assert f"can't be stopped: it is Failed. Received: {name}" in run("stop", name)[2]
    assert run("attach", name)[0] == 1


def test_a_tuning_job_of_another_process(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "jobs/done", tmp_path / "jobs/done")
    monkeypatch.chdir(tmp_path)
    write_program(tmp_path, "print('acc=0.5', flush=True)\nsignal.pause()")
    ranges = {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}]}
    single = json.loads(job_file(tmp_path).read_text())
    names = ("TrainingJobName",)
    tuning = {
        "HyperParameterTuningJobName": "<name>",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:acc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges,
        },
        "TrainingJobDefinition": {key: value for key, value in single.items() if key not in names},
    }
    (tmp_path / "tune.json").write_text(json.dumps(tuning))
    tune = start(tmp_path, "tune", "--job", "tune.json", "--name", "search", "--parallel", "2", own=True)

    def children() -> list[Mapping[str, Any]]:
        found = json.loads(run("jobs", "--json", "--kind", "training", "--out", "jobs/tune")[1] or "[]")
        return [job for job in found if job["metric"]]

    first, second = (job["name"] for job in until(lambda: len(children()) == 2 and children()))
    code, out, _ = run("jobs")
    assert code == 0
    assert re.search(r"  search +tuning +InProgress +\d+:\d\d +folder jobs/tune", out)
    assert "attach search --out jobs/tune" in run("logs", "search")[2]
    code, _, err = run("stop", first)
    assert (code, err.startswith(f"{first}: Stop")) == (0, True)
    code, _, err = run("stop", "search")
    assert (code, err.startswith("search: Stop")) == (0, True)
    assert finish(tune)[0] == 130
    code, out, err = run("attach", "search")
    assert (code, out) == (130, "")
    assert f"{first}  Stopped  lr=" in err
    assert f"{second}  Stopped  lr=" in err
    assert "search: Stopped\n" in err
    assert run("report", "search") == (0, "jobs/tune/tuning/search/report.html\n", "")
    code, out, _ = run("describe", "search")
    assert (code, "training jobs  Stopped=2\n" in out) == (0, True)


def test_several_jobs_of_one_name(
    run: Run, folder: Path, served: Served, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named with the command that means it."""
    url = served.exports["AWS_ENDPOINT_URL"]
    sagemaker.create_training_job(**request("done", ""))
    ended(sagemaker, "done")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    code, out, err = run("describe", "done")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Several jobs have this name. Received: done. Say which: " in err
    commands = re.findall(r"python -m local_test (describe [^;\n]*)", err)
    assert [shlex.split(command)[4:] for command in commands] == [["--endpoint-url", url], ["--out", "jobs"]]
    places = [run(*shlex.split(command))[1] for command in commands]
    assert re.search(f"in +server {url}\n", places[0])
    assert re.search("in +folder jobs\n", places[1])
    assert run("jobs", "--limit", "1000")[1].count(" done ") == 2


def test_a_servers_job_is_seen_once(run: Run, served: Served, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is at the server and in its folder; which is asked, too, while the server runs."""
    code = f"print('acc=0.5')\n{WAIT}"
    sagemaker.create_training_job(**request("once", code, AlgorithmSpecification=definition()))
    printed(served, "once", "ready")
    monkeypatch.setattr("local_test.places.finder.DEFAULT_OUT", served.root)
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.exports["AWS_ENDPOINT_URL"])
    _, out, err = run("jobs", "--limit", "1000")
    assert out.count("  once ") == 1
    assert re.search(r"  once +(training +)?InProgress \(Training\) +\d+:\d\d +validation:acc=0.5", out)
    assert f"folder {served.root}" in err
    status, _, err = run("stop", "once", "--out", str(served.root))
    assert (status, err.startswith("once: Stop")) == (0, True)
    assert ended(sagemaker, "once")["TrainingJobStatus"] == "Stopped"


def test_jobs_by_awss_shapes(run: Run, folder: Path, served: Served, sagemaker: Any) -> None:
    """boto3, CloudWatch Logs of several hosts and pages, S3."""
    at = ("--endpoint-url", served.exports["AWS_ENDPOINT_URL"])
    report = "(BASE / 'output/data/report.html').write_text('<h1>served</h1>')\nprint('acc=0.5')"
    sagemaker.create_training_job(**request("shapes", report, AlgorithmSpecification=definition()))
    ended(sagemaker, "shapes")
    assert json.loads(run("describe", "shapes", "--json", *at)[1])["TrainingJobName"] == "shapes"
    assert run("report", "shapes", *at)[:2] == (0, "shapes-report.html\n")
    assert open_enclosed((folder / "shapes-report.html").read_bytes()) == b"<h1>served</h1>"
    unpacked = {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}
    model = "\n(BASE / 'model/m').write_text('m')"
    members = {"OutputDataConfig": unpacked, "AlgorithmSpecification": definition()}
    sagemaker.create_training_job(**request("unpacked", report + model, **members))
    ended(sagemaker, "unpacked")
    code, out, err = run("jobs", *at, "--limit", "1", "--kind", "training")
    assert re.search(r"  unpacked +Completed +\d+:\d\d +validation:acc=0.5\n$", out), out
    assert err.endswith("--limit 2 shows more\n")
    assert run("report", "unpacked", *at, "--to", "u.html")[:2] == (0, "u.html\n")
    assert open_enclosed((folder / "u.html").read_bytes()) == b"<h1>served</h1>"
    # what these jobs left was fetched: the training program says that it is no picture classifier
    for name in ("shapes", "unpacked"):
        code, _, err = run("predict", name, "a.png", *at, "--runner", "process")
        assert (code, err.splitlines()[-1].startswith("predict: No model. Received: ")) == (1, True), err
    code, _, err = run("predict", "nowhere", "a.png", *at)
    assert (code, "There is no training job of this name in server" in err) == (2, True)
    for typed in ("unp", "unpakced"):
        assert "Did you mean unpacked? python -m local_test jobs lists them. " in run("describe", typed, *at)[2]
    archive, long = io.BytesIO(), tarfile.TarInfo("long")
    long.type, long.size = tarfile.XHDTYPE, 2 << 20
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:  # somebody else's: tarfile would take it into memory
        tar.addfile(long, io.BytesIO(bytes(long.size)))
    served.client("s3").put_object(Bucket=BUCKET, Key="out/shapes/output/output.tar.gz", Body=archive.getvalue())
    code, _, err = run("report", "shapes", *at)
    assert (code, "The job's output is no archive: a name or attributes of 2,097,152 bytes" in err) == (2, True), err

    logs, group = served.client("logs"), "/aws/sagemaker/TrainingJobs"
    now = int(datetime.now(UTC).timestamp() * 1000)
    logs.create_log_stream(logGroupName=group, logStreamName="shapes/algo-2-1")
    for first in (0, 6000):
        events = [{"timestamp": now + n, "message": f"line {n} \x1b[2J"} for n in range(first, first + 6000)]
        logs.put_log_events(logGroupName=group, logStreamName="shapes/algo-2-1", logEvents=events)
    code, out, _ = run("logs", "shapes", *at)
    lines = out.splitlines()
    assert (code, len(lines), lines[0]) == (0, 12_001, "acc=0.5")
    assert lines[1::4000] == [rf"line {n} \x1b[2J" for n in (0, 4000, 8000)]


def test_a_job_of_a_server_followed_and_stopped(run: Run, folder: Path, served: Served, sagemaker: Any) -> None:
    at = ("--endpoint-url", served.exports["AWS_ENDPOINT_URL"])
    sagemaker.create_training_job(**request("followed", WAIT))
    printed(served, "followed", "ready")
    code, _, err = run("interrupt", "followed", *at)
    assert (code, err.count("Received: followed")) == (2, 1)
    attached = start(folder, "attach", "followed", *at)
    read_until(attached.stdout, "ready")
    code, _, err = run("stop", "followed", *at)
    assert code == 0
    assert re.match("followed: Stop(ping|ped)", err)
    assert shlex.join(["attach", "followed", *at]) in err
    code, _, err = finish(attached)
    assert code == 130
    assert "followed: Stopped\n" in err
    code, _, err = run("interrupt", "followed", *at)
    assert (code, "is in status Stopped. Received: followed" in err) == (2, True)
    code, _, err = run("report", "followed", *at)
    assert (code, "has left no report.html. Received: followed, which is Stopped" in err) == (2, True)


def test_a_processing_job(run: Run, served: Served, sagemaker: Any, s3: Any) -> None:
    """At its server, and in the server's folder."""
    waits = put_program(s3, "waits", "print('waits', flush=True)\nsignal.pause()")
    sagemaker.create_processing_job(**processing_request("clean", waits, outputs={"out": "EndOfJob"}))
    log = served.root / "processing/clean/logs/algo-1.log"
    until(lambda: log.exists() and "waits" in log.read_text())
    places = ("--endpoint-url", served.exports["AWS_ENDPOINT_URL"]), ("--out", str(served.root))
    for at in places:
        code, out, _ = run("jobs", *at, "--kind", "processing", "--json")
        assert (code, "clean" in [job["name"] for job in json.loads(out)]) == (0, True)
        code, out, _ = run("describe", "clean", *at)
        assert code == 0
        assert re.search(f"^output out +s3://{BUCKET}/clean/out$", out, re.MULTILINE)
    code, _, err = run("stop", "clean", *places[1])
    assert (code, err.startswith("clean: Stop")) == (0, True)
    assert processed(sagemaker, "clean")["ProcessingJobStatus"] == "Stopped"
    for at in places:
        assert run("logs", "clean", *at)[:2] == (0, "waits\n")
        code, out, err = run("attach", "clean", *at)
        assert (code, out, err.splitlines()[-1]) == (130, "waits\n", "clean: Stopped")


def test_regions_of_a_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    for number, region in enumerate(("training", "regions/eu-west-1/training")):
        (tmp_path / region / "done").mkdir(parents=True)
        text = (folder / "jobs/done/describe.json").read_text()
        (tmp_path / region / "done/describe.json").write_text(
            text.replace("us-east-1", ("us-east-1", "eu-west-1")[number])
        )
    (tmp_path / ".local-test").touch()
    options = [list(place.options) for place in open_folders(tmp_path)]
    at = ["--out", str(tmp_path), "--region"]
    assert options == [[*at, "us-east-1"], [*at, "eu-west-1"]]
    assert [place.region for place in open_folders(tmp_path, "eu-west-1")] == ["eu-west-1"]
    code, _, err = run("logs", "done", "--out", str(tmp_path))
    commands = re.findall(r"python -m local_test (logs [^;\n]*)", err)
    assert (code, len(commands)) == (2, 2)
    for command in commands:
        assert run(*shlex.split(command))[0] == 0


def test_a_job_of_train_is_meant_before_one_below(run: Run, folder: Path, tmp_path: Path) -> None:
    """With --out, which names both folders, the outer one is not asked for in vain."""
    for place in (".", "api/training"):
        (tmp_path / place / "done").mkdir(parents=True)
        text = (folder / "jobs/done/describe.json").read_text()
        (tmp_path / place / "done/describe.json").write_text(text.replace("us-east-1", f"eu-{len(place)}"))
    (tmp_path / "api/.local-test").touch()
    assert f"folder {tmp_path}\n" in run("describe", "done", "--out", str(tmp_path))[1]
    assert f"folder {tmp_path}/api\n" in run("describe", "done", "--out", f"{tmp_path}/api")[1]


@pytest.fixture(autouse=True, scope="module")
def nothing_left_running() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "mailbox"]
