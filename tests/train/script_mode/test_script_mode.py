"""A user's program in script mode, as a process of the toolkit's own `train` command."""

import json
import signal
import tarfile
import textwrap
from pathlib import Path

import pytest

from tests.support.opt_ml import job_folder
from tests.support.train_jobs import TrainJob

ROOT = Path(__file__).parents[3]


def source(root: Path, name: str, text: str, **hyperparameters: str) -> Path:
    """A job's /opt/ml whose script is `text`."""
    job_folder(root, "File", {})
    (root / "code").mkdir()
    (root / "code" / name).write_text(textwrap.dedent(text))
    known = {"sagemaker_program": json.dumps(name), "sagemaker_submit_directory": json.dumps(str(root / "code"))}
    (root / "input/config/hyperparameters.json").write_text(json.dumps(known | hyperparameters))
    return root


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("print('chatter')\nraise ValueError('label 12 out of range')", '"ValueError: label 12 out of range"'),
        ("import sys\nsys.exit('no pictures')", "no pictures"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
    ],
)
def test_a_failure_carries_its_cause(tmp_path, start, text, cause):
    job: TrainJob = start(source(tmp_path, "mine.py", text))
    assert job.wait() == 1
    assert job.failure.startswith("ExecuteUserScriptError:")
    assert cause in job.failure
    assert len(job.failure) <= 1024
    assert "chatter" not in job.failure


def test_output_arrives_as_it_was_written(tmp_path, start):
    """A metric's line in two parts, as print() with PYTHONUNBUFFERED writes it, stays one line."""
    text = """
        import os
        for number in range(200):
            os.write(1, b"accuracy=")
            os.write(1, b"0.%03d\\n" % number)
    """
    job = start(source(tmp_path, "mine.py", text))
    assert job.wait() == 0
    assert [line for line in job.lines if "accuracy" in line] == [f"accuracy=0.{number:03}" for number in range(200)]


def test_a_shell_scripts_trap_finishes(tmp_path, start):
    text = """\
        #!/bin/sh
        trap 'echo saving; sleep 1; echo saved > "$SM_MODEL_DIR/model"; exit 0' TERM
        echo ready
        while :; do sleep 0.1; done
    """
    root = source(tmp_path, "mine.sh", text)
    (root / "model").mkdir()
    job = start(root)
    job.until("ready")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == 0
    assert (root / "model/model").read_text() == "saved\n"


def test_a_stop_reaches_the_program_alone(tmp_path, start):
    """Its workers go on, so that it can end them in its own order."""
    text = """
        import multiprocessing, pathlib, os, signal, sys, threading

        def work(tasks, results):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for task in iter(tasks.get, None):
                results.put(task * 2)

        if __name__ == "__main__":
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
            worker = multiprocessing.Process(target=work, args=(tasks, results))
            worker.start()
            tasks.put(1)
            print("ready", results.get(), flush=True)
            stop.wait()
            tasks.put(21)
            pathlib.Path(os.environ["SM_MODEL_DIR"], "model").write_text(str(results.get(timeout=200)))
            tasks.put(None)
            worker.join()
    """
    root = source(tmp_path, "mine.py", text)
    (root / "model").mkdir()
    job = start(root)
    job.until("ready 2")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == 0, job.lines
    assert (root / "model/model").read_text() == "42"


def test_a_stop_that_the_program_does_not_handle_is_no_failure(tmp_path, start):
    job = start(source(tmp_path, "mine.py", "import signal\nprint('ready', flush=True)\nsignal.pause()\n"))
    job.until("ready")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == 0
    assert job.failure is None
    assert not (job.root / "output/success").exists()


def test_a_stop_while_it_is_prepared_ends_it_at_once(tmp_path, start):
    """The toolkit would wait 15 minutes for a host's name, deaf to any signal."""
    root = source(tmp_path, "mine.py", "print('never')")
    hosts = ["algo-1", "nowhere.invalid"]
    (root / "input/config/resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": hosts}))
    job = start(root, SM_STUDIO_LOCAL_MODE="false")
    job.until_there("code")
    job.until("No Neurons")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == 0
    assert "never" not in job.lines


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(512))


def test_a_failure_that_has_no_room_is_no_success(tmp_path, small_disk, start):
    """The toolkit's `finally: sys.exit(0)` would make it one."""
    root = source(tmp_path / "ml", "mine.py", "raise ValueError('label 12 out of range')")
    (root / "output").symlink_to(small_disk)
    fill(small_disk)
    job = start(root)
    assert job.wait() == 1
    assert not job.failure
    assert any("failure can't be written" in line for line in job.lines), job.lines


def test_an_output_folder_that_cannot_be_made_is_no_success(tmp_path, start):
    root = source(tmp_path, "mine.py", "print('never')")
    (root / "output").write_text("a file")
    job = start(root)
    assert job.wait() == 1
    assert "never" not in job.lines


def test_an_error_without_a_number_is_no_success(tmp_path, start):
    """The toolkit takes `errno` for the exit code, and fails over OSError("text"), whose errno is None."""
    (tmp_path / "buggy.py").write_text(
        "from train import entrypoint\n"
        "def fail(*_): raise OSError('no number')\n"
        "def main():\n    entrypoint.run_script = fail\n    entrypoint.main()\n"
    )
    root = source(tmp_path / "ml", "mine.py", "")
    job = start(root, SAGEMAKER_TRAINING_MODULE="buggy:main", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert job.wait() == 1
    assert "no number" in job.failure


def one_line(job: TrainJob) -> str:
    """The failure of a job that must fail with a line of ours."""
    assert job.wait() == 1, job.lines
    assert job.failure
    assert "\n" not in job.failure
    assert not any("Traceback" in line for line in job.lines)
    return job.failure


@pytest.mark.parametrize("archive", ["nowhere.tar.gz", "damaged.tar.gz"])
def test_a_source_that_cannot_be_fetched(tmp_path, start, archive):
    path = tmp_path / archive
    root = source(tmp_path / "ml", "mine.py", "", sagemaker_submit_directory=json.dumps(str(path)))
    (root / "code/mine.py").unlink()
    if archive.startswith("damaged"):
        with tarfile.open(path, "w:gz") as whole:
            whole.add(__file__, "mine.py")
        path.write_bytes(path.read_bytes()[:200])
    failure = one_line(start(root))
    assert failure.startswith(f"The script's source can't be fetched. Received: sagemaker_submit_directory {path}: ")


def test_a_script_that_the_source_does_not_have(tmp_path, start):
    root = source(tmp_path, "mine.py", "", sagemaker_program='"other.py"')
    expected = "The source has no other.py, which sagemaker_program names. Received: mine.py."
    assert one_line(start(root)) == expected


def test_requirements_that_cannot_be_installed_are_named(tmp_path, start):
    root = source(tmp_path, "mine.py", "print('never')")
    (root / "code/requirements.txt").write_text("no-such-package-anywhere==1.0\n")
    failure = one_line(start(root, PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1"))
    assert failure.startswith("What the script requires can't be installed. Received: ")
    assert "No matching distribution found for no-such-package-anywhere==1.0" in failure


def test_each_job_of_a_tuning_job_has_a_model_dir_of_its_own(tmp_path, start):
    root = source(
        tmp_path, "mine.py", "import sys\nprint(*sys.argv[1:])", model_dir='"s3://b/m"', _tuning_objective_metric='"a"'
    )
    job = start(root, TRAINING_JOB_NAME="tuned-001")
    assert job.wait() == 0
    assert "--model_dir s3://b/m/tuned-001/model" in job.lines
