"""Jobs from beginning to end, with real processes and FIFOs: what is left on disk is what the service would tell."""

import csv
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local_test.data.object_store import ObjectStore
from local_test.errors import BadRequest, ResourceInUse, RunnerError
from local_test.runners.process import ProcessRunner
from local_test.training.job import TrainingJob
from local_test.training.job_status import format_algorithm_error
from local_test.training.observer import Observer
from local_test.util.atomic_files import file_uri
from tests.support.api import check_shape
from tests.support.local_jobs import AnyRunner, Recorder, request_for
from tests.support.served import until
from tests.support.small_disk import mount_small_disk

Program = Callable[[str], ProcessRunner]
Run = Callable[..., tuple[dict[str, Any], Recorder, Path]]
DEFINITIONS = [{"Name": "validation:accuracy", "Regex": "validation:accuracy=([0-9.]+)"}]


def states(description: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in description["SecondaryStatusTransitions"]]


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return sorted(tar.getnames())


def started(runner: ProcessRunner, request: dict[str, Any], out: Path, **options: Any) -> tuple[Any, Recorder, Any]:
    """(job, what is seen of it, a function that waits for its description): the job runs in a thread."""
    seen, found, storage = Recorder(), [], ObjectStore()
    job = TrainingJob(request, out, runner, storage, {}, [seen], **options)
    thread = threading.Thread(target=lambda: found.append(job.run()))
    thread.start()

    def result() -> dict[str, Any]:
        thread.join(100)
        assert not thread.is_alive()
        return found[0]

    return job, seen, result


def test_a_job_that_reads_its_channels_and_leaves_a_model(
    program: Program, run: Run, data: Path, tmp_path: Path
) -> None:
    runner = program(
        """
        for n in range(3):
            with channel("train", n) as fifo:
                print(f"epoch={n} bytes={len(fifo.read())} validation:accuracy=0.{n}")
        assert not (BASE / "input/data/train").exists()
        assert (BASE / "input/data/labels/a").read_bytes() == b"1" * 10
        print(os.environ["TRAINING_JOB_NAME"], os.environ["A"], os.environ["AWS_REGION"])
        (BASE / "model/1").mkdir()
        (BASE / "model/1/weights").write_text("w")
        (BASE / "output/data/history.csv").write_text("h")
        """
    )
    request = request_for("Job-1", tmp_path / "jobs", {"train": data, "labels": data}, Environment={"A": "b"})
    request["InputDataConfig"][1]["InputMode"] = "File"
    request["AlgorithmSpecification"]["MetricDefinitions"] = DEFINITIONS
    description, seen, folder = run(runner, request)
    assert description["TrainingJobStatus"] == description["SecondaryStatus"] == "Completed", description
    assert states(description) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert seen.lines == [
        *(f"epoch={n} bytes=30 validation:accuracy=0.{n}" for n in range(3)),
        "Job-1 b us-east-1",
    ]
    assert (folder / "logs/algo-1.log").read_text().splitlines() == seen.lines
    assert names(folder / "model.tar.gz") == ["1", "1/weights"]
    assert names(folder / "output.tar.gz") == ["history.csv"]
    assert description["ModelArtifacts"]["S3ModelArtifacts"] == file_uri(folder / "model.tar.gz")
    (final,) = description["FinalMetricDataList"]
    assert (final["MetricName"], final["Value"]) == ("validation:accuracy", 0.2)
    with (folder / "metrics.csv").open() as file:
        assert [row["value"] for row in csv.DictReader(file)] == ["0.0", "0.1", "0.2"]
    assert json.loads((folder / "request.json").read_text()) == request
    assert [fed.n for fed in seen.fed if fed.end == "all"] == [0, 1, 2]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "request.json", "describe.json", "metrics.csv", "model.tar.gz", "output.tar.gz", "logs/algo-1.log",
        "logs/platform.log",
    }  # fmt: skip


def test_the_description_has_the_services_shape_and_words(program: Program, run: Run, tmp_path: Path) -> None:
    clock = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in range(1000))
    request = request_for("job", tmp_path / "jobs")
    description, _, folder = run(program("sys.exit(3)"), request, now=lambda: next(clock))
    check_shape("DescribeTrainingJob", description)
    written = json.loads((folder / "describe.json").read_text())
    assert written["SecondaryStatusTransitions"][-1] == {
        "Status": "Failed",
        "StartTime": description["TrainingEndTime"].isoformat(timespec="milliseconds"),
        "EndTime": description["TrainingEndTime"].isoformat(timespec="milliseconds"),
        "StatusMessage": "Training job failed",
    }
    messages = [transition["StatusMessage"] for transition in written["SecondaryStatusTransitions"]]
    assert messages[:4] == [
        "Preparing the instances for training",
        "Downloading input data",
        "Training image download completed. Training in progress.",
        "Uploading generated training model",
    ]
    elapsed = description["TrainingEndTime"] - description["TrainingStartTime"]
    assert description["TrainingTimeInSeconds"] == elapsed.total_seconds() > 0
    ends = [t["EndTime"] for t in description["SecondaryStatusTransitions"]]
    assert [t["StartTime"] for t in description["SecondaryStatusTransitions"]][1:] == ends[:-1]


def test_failed_without_a_failure_file(program: Program, run: Run, tmp_path: Path) -> None:
    description, *_ = run(program("sys.exit(3)"), request_for("job", tmp_path / "jobs"))
    assert description["FailureReason"] == "AlgorithmError: , exit code: 3"


def test_failed_with_a_failure_file(program: Program, run: Run, tmp_path: Path) -> None:
    runner = program(
        """
        (BASE / "model/half").write_text("x")
        (BASE / "output/failure").write_text("No records. " + "é" * 2000)
        sys.exit(1)
        """
    )
    description, _, folder = run(runner, request_for("job", tmp_path / "jobs"))
    assert description["FailureReason"] == f"AlgorithmError: No records. {'é' * 982}, exit code: 1"
    assert len(description["FailureReason"]) == 1024
    assert names(folder / "model.tar.gz") == ["half"]  # uploaded all the same


@pytest.mark.parametrize(
    ("failure", "code", "memory", "reason"),
    [
        ("", 137, True, "AlgorithmError: killed: out of memory, exit code: 137"),
        ("", 137, False, "AlgorithmError: killed with SIGKILL; not seen to be out of memory, exit code: 137"),
        ("text", 1, True, "AlgorithmError: text; killed: out of memory, exit code: 1"),
        ("text\n", 2, False, "AlgorithmError: text, exit code: 2"),
        ("x" * 2000, 2, False, f"AlgorithmError: {'x' * 994}, exit code: 2"),  # 1024 in all, the API's limit
    ],
)
def test_the_reason_of_a_failure(failure: str, code: int, memory: bool, reason: str) -> None:
    assert format_algorithm_error(failure, code, memory) == reason


def test_killed_in_the_middle_of_an_epoch(program: Program, run: Run, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(5_000_000))
    runner = program(
        """
        with channel("train", 0) as fifo:
            fifo.read(1000)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    description, *_ = run(runner, request_for("job", tmp_path / "jobs", {"train": tmp_path / "big"}))
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("AlgorithmError: killed")
    assert description["FailureReason"].endswith(", exit code: 137")


def test_a_program_that_never_opens_its_fifo_is_stopped(program: Program, data: Path, tmp_path: Path) -> None:
    runner = program(
        """
        def leave(*_):
            (BASE / "model/last").write_text("x")
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        print("ready", flush=True)
        while True:
            signal.pause()
        """
    )
    request = request_for("job", tmp_path / "jobs", {"train": data})
    job, seen, result = started(runner, request, tmp_path / "jobs")
    seen.wait_for(lambda: "ready" in seen.lines)
    job.stop()
    description = result()
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert states(description)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert names(job.folder / "model.tar.gz") == ["last"]
    assert "FailureReason" not in description
    assert not (job.folder / "algo-1").exists()


IGNORES = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""


def test_sigterm_ignored_is_sigkill_after_the_grace_period(program: Program, tmp_path: Path) -> None:
    job, seen, result = started(program(IGNORES), request_for("job", tmp_path / "jobs"), tmp_path / "jobs", grace=0.5)
    seen.wait_for(lambda: seen.lines)
    job.stop()
    description = result()
    assert description["SecondaryStatus"] == "Stopped"
    stopping, uploading = description["SecondaryStatusTransitions"][-3:-1]
    assert uploading["StartTime"] - stopping["StartTime"] >= timedelta(seconds=0.5)


class AtUploading(Observer):
    """Does something to the job as soon as it uploads."""

    def __init__(self, act: str) -> None:
        self.job: TrainingJob
        self._act = act

    def on_transition(self, description: dict[str, Any]) -> None:
        if description["SecondaryStatus"] == "Uploading":
            getattr(self.job, self._act)()


@pytest.mark.parametrize(("act", "uploaded"), [("stop", True), ("kill", False)])
@pytest.mark.parametrize(
    "code", ["(BASE / 'model/m').write_text('x')", "(BASE / 'model/m').write_text('x')\nsys.exit(1)"]
)
def test_stopped_while_it_uploads(program: Program, tmp_path: Path, act: str, uploaded: bool, code: str) -> None:
    at_uploading = AtUploading(act)
    request, out = request_for("j", tmp_path / "jobs"), tmp_path / "jobs"
    job = at_uploading.job = TrainingJob(request, out, program(code), ObjectStore(), {}, [at_uploading])
    description = job.run()
    end = "Failed" if "exit" in code else "Stopped"
    assert states(description)[-3:] == ["Uploading", "Stopping", end]
    assert bool(description["ModelArtifacts"]["S3ModelArtifacts"]) == uploaded
    assert (out / "j/model.tar.gz").exists() == uploaded


def test_a_second_stop_is_no_kill_but_kill_is(program: Program, tmp_path: Path) -> None:
    job, seen, result = started(program(IGNORES), request_for("job", tmp_path / "jobs"), tmp_path / "jobs")
    seen.wait_for(lambda: seen.lines)
    job.stop()
    job.stop()
    seen.wait_for(lambda: "Stopping" in seen.states)
    assert seen.states[-1] == "Stopping"
    job.kill()
    assert result()["SecondaryStatus"] == "Stopped"


def test_max_runtime(program: Program, run: Run, tmp_path: Path) -> None:
    request = request_for("job", tmp_path / "jobs", StoppingCondition={"MaxRuntimeInSeconds": 1})
    description, *_ = run(program("signal.pause()"), request)
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert description["SecondaryStatusTransitions"][-1]["StatusMessage"] == (
        "Training job runtime exceeded MaxRuntimeInSeconds provided"
    )


def test_stopped_before_it_was_run(program: Program, tmp_path: Path) -> None:
    job = TrainingJob(request_for("job", tmp_path), tmp_path, program("print('never')"), ObjectStore(), {})
    job.stop()
    description = job.run()
    assert states(description) == ["Starting", "Stopping", "Stopped"]


def test_no_process_is_left_behind(program: Program, run: Run, tmp_path: Path) -> None:
    runner = program(
        """
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        print(child.pid)
        """
    )
    description, seen, _ = run(runner, request_for("job", tmp_path / "jobs"))
    assert description["TrainingJobStatus"] == "Completed"
    command = ["ps", "-o", "state=", "-p", seen.lines[0]]  # gone, or waiting for init to take note; at once is soon
    until(lambda: subprocess.run(command, capture_output=True, text=True).stdout.strip() in ("", "Z"))


def test_data_that_disappears_fails_the_job(program: Program, run: Run, data: Path, tmp_path: Path) -> None:
    runner = program(
        f"""
        channel("train", 0).read()
        os.unlink({str(data / "c")!r})
        channel("train", 1).read()
        """
    )
    description, *_ = run(runner, request_for("job", tmp_path / "jobs", {"train": data}), grace=5)
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("ClientError: Data download failed:")
    assert str(data / "c") in description["FailureReason"]


def test_two_jobs_at_once(program: Program, data: Path, tmp_path: Path) -> None:
    runner = program(
        """
        for n in range(20):
            assert len(channel("train", n).read()) == 30
        print(os.environ["TRAINING_JOB_NAME"])
        """
    )
    jobs = [
        started(runner, request_for(name, tmp_path / "jobs", {"train": data}), tmp_path / "jobs") for name in ("a", "b")
    ]
    for name, (_, seen, result) in zip(("a", "b"), jobs, strict=True):
        assert result()["TrainingJobStatus"] == "Completed"
        assert seen.lines == [name]


def test_checkpoints_are_restored_kept_and_resumed_from(program: Program, run: Run, tmp_path: Path) -> None:
    runner = program(
        """
        path = BASE / "checkpoints/epoch"
        epoch = int(path.read_text()) if path.exists() else 0
        path.write_text(str(epoch + 1))
        print("started at", epoch)
        sys.exit(1)
        """
    )
    members = {"CheckpointConfig": {"S3Uri": file_uri(tmp_path / "kept")}}
    _, first, _ = run(runner, request_for("one", tmp_path / "jobs", **members))
    _, second, _ = run(runner, request_for("two", tmp_path / "jobs", **members))
    assert (first.lines, second.lines) == (["started at 0"], ["started at 1"])
    assert (tmp_path / "kept/epoch").read_text() == "2"
    assert any("1 file of checkpoints restored" in note for note in second.notes)


def test_artifacts_go_where_the_request_wants_them(program: Program, run: Run, tmp_path: Path) -> None:
    request = request_for("job", tmp_path / "jobs", OutputDataConfig={"S3OutputPath": file_uri(tmp_path / "s3")})
    description, _, folder = run(program("(BASE / 'model/m').write_text('x')"), request)
    there = tmp_path / "s3/job/output/model.tar.gz"
    assert description["ModelArtifacts"]["S3ModelArtifacts"] == file_uri(there)
    assert there.read_bytes() == (folder / "model.tar.gz").read_bytes()
    assert (tmp_path / "s3/job/output/output.tar.gz").exists()


def test_an_output_path_that_cannot_be_written_fails_the_job(program: Program, run: Run, tmp_path: Path) -> None:
    """By the time of the upload: before, the job is refused."""
    file = tmp_path / "file"
    request = request_for("job", tmp_path / "jobs", OutputDataConfig={"S3OutputPath": file_uri(file / "x")})
    runner = program(f"Path({str(file)!r}).write_text('x')")
    description, *_ = run(runner, request)
    assert description["FailureReason"].startswith("ClientError: Artifact upload failed:")
    with pytest.raises(BadRequest, match=r"^OutputDataConfig.S3OutputPath: It must be a folder. Received: "):
        run(runner, {**request, "TrainingJobName": "again"})


def test_output_of_every_kind_arrives(program: Program, run: Run, tmp_path: Path) -> None:
    runner = program(r"""os.write(1, b"one\n\ttwo\n"); os.write(1, b"thr"); os.write(1, b"ee\nno newline \xff")""")
    _, seen, _ = run(runner, request_for("job", tmp_path / "jobs"))
    assert seen.lines == ["one", "#011two", "three", "no newline �"]


def test_a_line_of_one_stream_never_ends_in_the_other(program: Program, run: Run, tmp_path: Path) -> None:
    """A progress bar has no line end; a value without one is followed by a warning that begins with a digit."""
    runner = program(
        r"""
        for n in range(3):
            os.write(2, b"\r50%"); os.write(1, b"loss=%d\n" % n)
        os.write(1, b"acc=9.5"); os.write(2, b"2026-01-02 a warning\n")
        """
    )
    definitions = [{"Name": "loss", "Regex": "^loss=([0-9]+)$"}, {"Name": "acc", "Regex": "acc=([0-9.]+)"}]
    request = request_for("job", tmp_path / "jobs")
    request["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    description, seen, _ = run(runner, request)
    assert {"loss=0", "loss=1", "loss=2", "acc=9.5"} < set(seen.lines)
    assert [(item["MetricName"], item["Value"]) for item in description["FinalMetricDataList"]] == [
        ("loss", 2.0),
        ("acc", 9.5),
    ]


class SlowRecorder(Recorder):
    """Some 5,000 lines a second: what a pipe holds takes it longer than a silent container is waited for."""

    def on_line(self, line: str, host: str) -> None:
        time.sleep(1e-4)
        super().on_line(line, host)


def test_a_lot_of_output_just_before_the_end_is_not_lost(
    program: Program, storage: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_test.runners.supervisor._SILENT_SECONDS", 0.5)
    request, seen = request_for("j", tmp_path / "jobs"), SlowRecorder()
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "n", "Regex": "^n=([0-9]+)"}]
    runner = program("import os; sys.stdout.write(''.join(f'n={n}\\n' for n in range(20_000))); sys.stdout.flush()")
    job = TrainingJob(request, tmp_path / "jobs", runner, storage, {}, [seen])
    description = job.run()
    assert seen.lines == [f"n={n}" for n in range(20_000)]
    assert (job.folder / "logs/algo-1.log").stat().st_size == sum(len(line) + 1 for line in seen.lines)
    assert [item["Value"] for item in description["FinalMetricDataList"]] == [19_999]


def test_a_program_that_prints_without_end_waits_for_the_platform(program: Program, tmp_path: Path) -> None:
    """So that a stop finds no more to do than what a pipe holds."""
    job, seen, result = started(
        program("os.execvp('yes', ['yes'])"), request_for("j", tmp_path / "jobs"), tmp_path / "jobs"
    )
    seen.wait_for(lambda: len(seen.lines) > 10_000)
    job.stop()
    assert result()["TrainingJobStatus"] == "Stopped"
    assert (tmp_path / "jobs/j/logs/algo-1.log").stat().st_size == 2 * len(seen.lines)


def test_a_process_that_has_left_the_group_keeps_no_job_alive(program: Program, run: Run, tmp_path: Path) -> None:
    code = """
        import subprocess
        print("ready", flush=True)
        subprocess.Popen(["yes", "x" * 4000], start_new_session=True)
    """
    description, seen, _ = run(program(code), request_for("j", tmp_path / "jobs"))
    assert description["TrainingJobStatus"] == "Completed"
    assert seen.lines[0] == "ready"
    assert not [note for note in seen.notes if "may be lost" in note]


def test_what_is_ignored_is_noted_once(program: Program, run: Run, tmp_path: Path) -> None:
    request = request_for("job", tmp_path / "jobs", InfraCheckConfig={"EnableInfraCheck": True})
    description, _, folder = run(program(""), request)
    assert description["TrainingJobStatus"] == "Completed"
    expected = "ignored locally: InfraCheckConfig, ResourceConfig.VolumeSizeInGB"
    assert (folder / "logs/platform.log").read_text().count(expected) == 1


@pytest.mark.parametrize("named", ["/opt/ml/input/data/train", "{BASE}/input/data/train"])
def test_a_program_that_looks_in_opt_ml_is_told_that_a_process_has_none(
    program: Program, run: Run, tmp_path: Path, named: str
) -> None:
    code = f"(BASE / 'output/failure').write_text(f'No such file: {named}')\nsys.exit(1)"
    description, seen, _ = run(program(code), request_for("job", tmp_path / "jobs"))
    assert description["FailureReason"].startswith("AlgorithmError: No such file: ")
    told = [note for note in seen.notes if note.endswith("or use --runner docker")]
    assert len(told) == named.startswith("/opt/ml")


def test_credentials_pass_on_to_the_program_but_not_into_an_isolated_one(program: Program, tmp_path: Path) -> None:
    runner, environ = program(""), {"AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1", "OTHER": "x"}
    job = TrainingJob(request_for("a", tmp_path), tmp_path, runner, ObjectStore(), environ)
    assert job.hosts[0].spec.environment == {
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "eu-west-1",
        "TRAINING_JOB_NAME": "a",
        "TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/a",
    }
    isolated = request_for("b", tmp_path, EnableNetworkIsolation=True)
    job = TrainingJob(isolated, tmp_path, AnyRunner(), ObjectStore(), environ)
    assert "AWS_SECRET_ACCESS_KEY" not in job.hosts[0].spec.environment
    assert job.hosts[0].spec.network is False


def test_a_name_that_is_in_use(program: Program, run: Run, tmp_path: Path) -> None:
    run(program(""), request_for("job", tmp_path / "jobs"))
    with pytest.raises(ResourceInUse, match=r"a training job with this name already exists \(arn:.*/job\)"):
        run(program(""), request_for("job", tmp_path / "jobs"))


def test_nothing_is_left_of_a_request_that_is_refused(program: Program, run: Run, data: Path, tmp_path: Path) -> None:
    bad = request_for("job", tmp_path / "jobs", {"train": tmp_path / "absent"})
    with pytest.raises(BadRequest, match="No S3 objects found"):
        run(program(""), bad)
    bad = request_for("job", tmp_path / "jobs")
    bad["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "m", "Regex": "("}]
    with pytest.raises(BadRequest, match="regex of m"):
        run(program(""), bad)
    assert not (tmp_path / "jobs").exists()


def test_an_output_folder_that_cannot_be_made(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file/jobs", Path("/proc/jobs")):
        with pytest.raises(BadRequest, match=r"--out") as caught:
            TrainingJob(request_for("job", out), out, program(""), ObjectStore(), {})
        assert "\n" not in str(caught.value)


def test_a_machine_without_the_toolkit(tmp_path: Path) -> None:
    runner = ProcessRunner(os.environ, tmp_path, [str(tmp_path / "bin/train")])
    with pytest.raises(RunnerError, match=r"toolkit is not installed .* pip install '.\[train\]'"):
        TrainingJob(request_for("job", tmp_path), tmp_path, runner, ObjectStore(), {})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/state"}}, "LocalPath must be below /opt/ml"),
        ({"ContainerEntrypoint": ["python"]}, "ContainerEntrypoint .* Use --runner docker"),
    ],
)
def test_what_a_process_cannot_follow(program: Program, tmp_path: Path, members: dict[str, Any], message: str) -> None:
    request = request_for("job", tmp_path)
    if "ContainerEntrypoint" in members:
        request["AlgorithmSpecification"] |= members
    else:
        request |= members
    with pytest.raises(RunnerError, match=message):
        TrainingJob(request, tmp_path, program(""), ObjectStore(), {})


def test_describing_from_other_threads_while_the_job_moves(program: Program, tmp_path: Path) -> None:
    job, _, result = started(program("print('x')"), request_for("job", tmp_path / "jobs"), tmp_path / "jobs")
    problems: list[Exception] = []

    def look() -> None:
        try:
            while job.describe()["TrainingJobStatus"] == "InProgress":
                json.loads((job.folder / "describe.json").read_text())
        except Exception as error:
            problems.append(error)

    watchers = [threading.Thread(target=look) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    result()
    for watcher in watchers:
        watcher.join(100)
        assert not watcher.is_alive()
    assert problems == []


def test_an_observer_that_breaks_is_a_bug_but_leaves_no_job_that_seems_to_run(program: Program, tmp_path: Path) -> None:
    class Broken(Recorder):
        def on_transition(self, description: dict[str, Any]) -> None:
            if description["SecondaryStatus"] == "Uploading":
                raise RuntimeError("bug")

    job = TrainingJob(request_for("job", tmp_path), tmp_path, program(""), ObjectStore(), {}, [Broken()])
    with pytest.raises(RuntimeError, match="bug"):
        job.run()
    assert json.loads((job.folder / "describe.json").read_text())["FailureReason"] == "InternalServerError: bug"
    assert not (job.folder / "algo-1").exists()


SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600},
}
RESUMING = """
saved = BASE / "checkpoints/epoch"
if saved.exists():
    run = json.loads((BASE / "input/config/init-config.json").read_text())["jobRunInfo"]["jobRunNumber"]
    print("resumed", saved.read_text(), "run", run, "acc=2", flush=True)
    (BASE / "model/last").write_text("x")
    sys.exit(0)
def leave(*_):
    saved.write_text("7")
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
print("first", len(channel("train", 0).read()), "acc=1", flush=True)
signal.pause()
"""


def test_an_interrupted_job_resumes_from_its_checkpoint(program: Program, data: Path, tmp_path: Path) -> None:
    runner = program("import json\n" + RESUMING)
    checkpoints = {"S3Uri": file_uri(tmp_path / "kept")}
    request = request_for("job", tmp_path / "jobs", {"train": data}, CheckpointConfig=checkpoints, **SPOT)
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "acc", "Regex": "acc=([0-9])"}]
    job, seen, result = started(runner, request, tmp_path / "jobs")
    seen.wait_for(lambda: seen.lines)
    job.interrupt()
    description = result()
    assert description["TrainingJobStatus"] == "Completed", description
    once = ["Starting", "Downloading", "Training"]
    assert states(description) == [*once, "Interrupted", *once, "Uploading", "Completed"]
    assert seen.lines == ["first 30 acc=1", "resumed 7 run 2 acc=2"]
    assert (job.folder / "logs/algo-1.log").read_text().splitlines() == seen.lines
    assert [row["value"] for row in csv.DictReader((job.folder / "metrics.csv").read_text().splitlines())] == [
        "1.0",
        "2.0",
    ]
    assert names(job.folder / "model.tar.gz") == ["last"]
    assert description["TrainingStartTime"] == description["SecondaryStatusTransitions"][1]["StartTime"]


SLOW_TO_LEAVE = """
def leave(*_):
    print("saving", flush=True)
    channel("go", 0).read()
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("kill", [False, True])
def test_a_stop_during_an_interruption_is_seen_at_once(program: Program, tmp_path: Path, kill: bool) -> None:
    """While the container still saves what it has, the job is Stopping; and it does not start again."""
    job, seen, result = started(
        program(SLOW_TO_LEAVE), request_for("job", tmp_path / "jobs", **SPOT), tmp_path / "jobs"
    )
    seen.wait_for(lambda: seen.lines)
    go = job.folder / "algo-1/opt/ml/input/data/go_0"
    os.mkfifo(go)
    job.interrupt()
    seen.wait_for(lambda: "saving" in seen.lines)
    assert job.describe()["TrainingJobStatus"] == "InProgress"
    (job.kill if kill else job.stop)()
    seen.wait_for(lambda: "Stopping" in seen.states)
    assert job.describe()["TrainingJobStatus"] == "Stopping"
    if not kill:
        go.write_text("")
    description = result()
    assert description["TrainingJobStatus"] == "Stopped"
    assert states(description)[2:] == ["Training", "Stopping", "Uploading", "Stopped"]


def test_a_stop_between_an_interruption_and_the_restart(program: Program, tmp_path: Path) -> None:
    class Stopper(Recorder):
        def on_transition(self, description: dict[str, Any]) -> None:
            super().on_transition(description)
            if description["SecondaryStatus"] == "Interrupted":
                job.stop()

    stopper = Stopper()
    runner, out = program("print('ready', flush=True)\nsignal.pause()"), tmp_path / "jobs"
    job = TrainingJob(request_for("job", out, **SPOT), out, runner, ObjectStore(), {}, [stopper])
    running = threading.Thread(target=job.run)
    running.start()
    stopper.wait_for(lambda: stopper.lines)
    job.interrupt()
    running.join(100)
    assert stopper.states[2:] == ["Training", "Interrupted", "Stopping", "Stopped"]


def test_what_cannot_be_removed_is_no_place_to_start_again(program: Program, tmp_path: Path) -> None:
    """A link that is left there would lead the next run's files out of it."""
    request = request_for("job", tmp_path, CheckpointConfig={"S3Uri": file_uri(tmp_path / "kept")}, **SPOT)
    job, seen, result = started(program("print('ready', flush=True)\nsignal.pause()"), request, tmp_path)
    seen.wait_for(lambda: seen.lines)
    left = job.folder / "algo-1/opt/ml/checkpoints/x"
    with mount_small_disk(left, "1m"):
        job.interrupt()
        description = result()
    assert description["FailureReason"] == (
        "InternalServerError: The job can't start again in the folders that it has left"
    )
    assert seen.states.count("Training") == 1
    assert any("can't be removed" in note and str(left) in note for note in seen.notes)


def test_only_a_spot_job_that_trains_can_be_interrupted(program: Program, tmp_path: Path) -> None:
    runner = program("")
    job = TrainingJob(request_for("a", tmp_path), tmp_path, runner, ObjectStore(), {})
    with pytest.raises(BadRequest, match="Only a job with EnableManagedSpotTraining"):
        job.interrupt()
    spot = TrainingJob(request_for("b", tmp_path, **SPOT), tmp_path, runner, ObjectStore(), {})
    with pytest.raises(BadRequest, match=r"Only a job that trains can be interrupted\. Received: b, which is Starting"):
        spot.interrupt()


def test_max_wait_time_stops_a_job(program: Program, run: Run, tmp_path: Path) -> None:
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    request = request_for("job", tmp_path / "jobs", **{**SPOT, "StoppingCondition": limits})
    seen = Recorder()
    waited = [0.0]

    def clock() -> float:
        return time.monotonic() + waited[0]

    runner = program("signal.pause()")
    job = TrainingJob(request, tmp_path / "jobs", runner, ObjectStore(), {}, [seen], clock=clock)
    waited[0] += 0.5  # for its turn
    description = job.run()
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    request["TrainingJobName"] = "late"
    late = TrainingJob(request, tmp_path / "jobs", program(""), ObjectStore(), {}, clock=clock)
    waited[0] += 2
    assert states(late.run()) == ["Starting", "Stopping", "MaxWaitTimeExceeded"]


class Flaky:
    """A runner that fails to start so often."""

    def __init__(self, runner: ProcessRunner, failures: int) -> None:
        self._runner, self._failures = runner, failures
        self.check, self.job_network, self.unmet_limits = runner.check, runner.job_network, runner.unmet_limits

    def start(self, spec: Any) -> Any:
        self._failures -= 1
        if self._failures >= 0:
            raise RunnerError("the engine is gone")
        return self._runner.start(spec)


@pytest.mark.parametrize(("attempts", "status"), [(2, "Completed"), (1, "Failed")])
def test_a_failure_of_the_platform_is_retried(
    program: Program, run: Run, tmp_path: Path, attempts: int, status: str
) -> None:
    request = request_for("job", tmp_path / "jobs", RetryStrategy={"MaximumRetryAttempts": attempts})
    description, seen, _ = run(Flaky(program("print('ran')"), 2), request)
    assert description["TrainingJobStatus"] == status
    assert seen.states.count("Restarting") == attempts
    if status == "Failed":
        assert description["FailureReason"] == "InternalServerError: the engine is gone"
    else:
        assert seen.lines == ["ran"]


def test_a_failure_of_the_program_is_not_retried(program: Program, run: Run, tmp_path: Path) -> None:
    request = request_for("job", tmp_path / "jobs", RetryStrategy={"MaximumRetryAttempts": 3})
    description, seen, _ = run(program("sys.exit(1)"), request)
    assert description["TrainingJobStatus"] == "Failed"
    assert "Restarting" not in seen.states


def test_network_isolation_needs_a_container(program: Program, tmp_path: Path) -> None:
    request = request_for("job", tmp_path / "jobs", EnableNetworkIsolation=True)
    with pytest.raises(RunnerError, match="EnableNetworkIsolation needs a container"):
        TrainingJob(request, tmp_path / "jobs", program(""), ObjectStore(), {})
    assert not (tmp_path / "jobs").exists()


def test_several_hosts_need_containers(program: Program, tmp_path: Path) -> None:
    request = request_for("job", tmp_path / "jobs")
    request["ResourceConfig"]["InstanceCount"] = 2
    with pytest.raises(RunnerError, match="InstanceCount above 1 needs a container for each host"):
        TrainingJob(request, tmp_path / "jobs", program(""), ObjectStore(), {})
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize("path", [None, "/opt/ml/events"])
def test_tensorboards_events_are_copied_up(program: Program, run: Run, tmp_path: Path, path: str | None) -> None:
    folder = "events" if path else "output/tensorboard"
    config = {"S3OutputPath": file_uri(tmp_path / "boards"), **({"LocalPath": path} if path else {})}
    runner = program(f"(BASE / '{folder}/train').mkdir(); (BASE / '{folder}/train/events.out').write_text('e')")
    description, _, _ = run(runner, request_for("job", tmp_path / "jobs", TensorBoardOutputConfig=config))
    assert description["TrainingJobStatus"] == "Completed", description
    assert (tmp_path / "boards/job/tensorboard-output/train/events.out").read_text() == "e"
