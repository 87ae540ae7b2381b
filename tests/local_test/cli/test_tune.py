"""`tune` as a person runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_test.cli.tune import fill_request
from local_test.request.builder import Options
from local_test.util.atomic_files import file_uri
from tests.support.programs import write_executable
from tests.support.served import MAIN, ROOT, TRAIN, WAIT, until
from tests.support.tuning import tuning_request

CODE = """
import json
h = json.loads((BASE / "input/config/hyperparameters.json").read_text())
print(len((BASE / "input/data/train_0").read_bytes()), "acc=0." + h["lr"][2:6])
(BASE / "model/w").write_text("x")
"""


def job_file(folder: Path, code: str, **config: Any) -> None:
    """A tuning job as a checkout has it: with placeholders."""
    write_executable(folder / "train.py", TRAIN)
    (folder / "data/train").mkdir(parents=True, exist_ok=True)
    (folder / "data/train/a").write_bytes(b"x" * 7)
    request = tuning_request(4, 2, **config)
    request["HyperParameterTuningJobName"] = "<name>"
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://<bucket>/data/train/"}
    request["TrainingJobDefinition"].update(
        RoleArn="<role>",
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": "s3://<bucket>/out"},
        Environment={"PROGRAM": code},
    )
    (folder / "tune.json").write_text(json.dumps(request))


def tune(folder: Path, *arguments: str, stderr: int = subprocess.PIPE, main: str = MAIN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", main, "tune", "--job", "tune.json", "--out", "out", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def test_a_tuning_job_from_the_command_line(tmp_path: Path) -> None:
    job_file(tmp_path, CODE)
    process = tune(tmp_path)
    _, err = process.communicate(timeout=200)
    assert (process.returncode, "Traceback" in err) == (0, False), err
    lines = err.splitlines()
    assert sum("  Completed  lr=0." in line and " acc=0." in line for line in lines if "Best" not in line) == 4
    best = max(line.rpartition("acc=")[2] for line in lines if "  Completed  " in line)
    assert any(line.startswith("Best: cv-keras-") and line.endswith(f"acc={best}") for line in lines)
    (described,) = (tmp_path / "out/tuning").glob("*/describe.json")
    assert json.loads(described.read_text())["HyperParameterTuningJobStatus"] == "Completed"
    assert len(list((tmp_path / "out/training").glob("*/model.tar.gz"))) == 4
    components = [json.loads(path.read_text()) for path in (tmp_path / "out/experiments").glob("*/*/describe.json")]
    assert [item["Status"]["PrimaryStatus"] for item in components] == ["Completed"] * 4
    assert {item["Parameters"]["epochs"]["NumberValue"] for item in components} == {1}
    report = described.with_name("report.html")
    assert lines[-1] == f"Report: {file_uri(report)}"
    assert f"<h1>Best acc: {float(best):.4g}</h1>" in report.read_text()


def test_it_takes_what_train_takes(tmp_path: Path) -> None:
    """Own data, code, mode, name and settings, without a word of JSON."""
    job_file(
        tmp_path,
        "import json\n"
        + CODE.replace("train_0", "train/b")
        + "print(os.environ['OWN'], h['epochs'], os.listdir(BASE / 'input/data/code'))",
    )
    (tmp_path / "own/train").mkdir(parents=True)
    (tmp_path / "own/train/b").write_bytes(b"x" * 9)
    (tmp_path / "model.py").write_text("")
    options = ["--channel=train=own/train", "--channel=code=model.py", "--input-mode=FastFile", "--name=mine"]
    process = tune(tmp_path, *options, "--hyperparameter=epochs=7", "--env=OWN=yes")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    described = json.loads((tmp_path / "out/tuning/mine/describe.json").read_text())
    assert described["TrainingJobDefinition"]["StaticHyperParameters"]["epochs"] == "7"
    jobs = sorted((tmp_path / "out/training").iterdir())
    assert len(jobs) == 4
    for job in jobs:
        lines = (job / "logs/algo-1.log").read_text().splitlines()
        assert lines[0].startswith("9 acc=")
        assert lines[1] == "yes 7 ['model.py']"


def test_a_value_of_what_is_tuned_is_refused(tmp_path: Path) -> None:
    job_file(tmp_path, "")
    process = tune(tmp_path, "--hyperparameter", "lr=0.5")
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err.count("\n")) == (2, 1), err
    assert "--hyperparameter lr: the job file tunes it" in err
    assert "Leave the option out" in err
    assert not list((tmp_path / "out/training").iterdir())


def test_it_does_not_load_moto() -> None:
    """Which takes a second, and is for `serve` alone."""
    code = "import sys, local_test.cli.main; print('moto' in sys.modules, 'local_test.server.platform' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout == "False True\n"


def test_ctrl_c_stops_it(tmp_path: Path) -> None:
    job_file(tmp_path, WAIT)
    process = tune(tmp_path)
    logs = tmp_path / "out/training"
    ready = until(
        lambda: (
            sum("ready" in path.read_text() for path in logs.glob("*/logs/algo-1.log")) == 2
            or process.poll() is not None
        )
    )
    assert ready
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    assert err.count("  Stopped  lr=") == 2
    assert err.splitlines()[-3].endswith(": Stopped")


MEASURED = """
print("progress training epoch=1/1 step=1/4 rate=2 loss=1.0 accuracy=0.5", flush=True)
print("acc=0.25", flush=True)
print("acc=0.5", flush=True)
signal.pause()
"""


def test_a_terminal_has_a_table_of_what_runs(tmp_path: Path) -> None:
    """Ctrl-C leaves what is on the screen, and the word of what it does."""
    job_file(tmp_path, MEASURED)
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 150))
    process = tune(tmp_path, stderr=terminal)
    os.close(terminal)
    seen = ""
    while seen.rpartition("\x1b[J")[2].count("acc=0.5 (2)  lr=0.") < 2:  # both, in what was drawn last
        seen += os.read(screen, 4096).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the terminal's way to say that nobody writes to it any more
        while chunk := os.read(screen, 4096):
            seen += chunk.decode(errors="replace")
    os.close(screen)
    process.communicate(timeout=200)
    assert process.returncode == 130
    assert "Traceback" not in seen
    assert "\r\n001-" in seen
    assert "  epoch 1/1 25 %  " in seen
    assert ": InProgress, 0 of 4 over, 2 begun\r\n" in seen
    after = seen.rpartition("Ctrl-C again kills it")[2]
    assert after.count("  Stopped  lr=") == 2


def test_without_a_terminal_lines_say_what_runs(tmp_path: Path) -> None:
    job_file(tmp_path, MEASURED)
    often = MAIN.replace("sys.exit(", "import local_test.cli.tune as tune\ntune.LINE_SECONDS = 0.3\nsys.exit(")
    process = tune(tmp_path, main=often)
    assert process.stderr
    said = ""
    one = r"epoch 1/1 25 % \d+ s acc=0.5 \(2\)"
    while not re.search(rf": InProgress, 0 of 4 over, 2 begun; 001-\S+ {one}; 002-\S+ {one}$", said, re.MULTILINE):
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert (process.returncode, "Traceback" in err) == (130, False), err


def test_what_is_not_supported_is_one_line(tmp_path: Path) -> None:
    job_file(tmp_path, "", Strategy="Hyperband", TrainingJobEarlyStoppingType="Auto")
    process = tune(tmp_path)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 2
    wrong = "TrainingJobEarlyStoppingType must be Off for Strategy Hyperband, which has its own. Received: Auto"
    assert err == f"local_test: {wrong}\n"


def test_a_definition_is_filled_in_as_a_training_job_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_file(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    request = json.loads((tmp_path / "tune.json").read_text())
    filled = fill_request(request, Options(image="mine:1"), tmp_path / "out", datetime(2026, 1, 2, 3, 4, 5, 6000, UTC))
    assert filled["HyperParameterTuningJobName"] == "cv-keras-2026-01-02-03-04-05-006"
    definition = filled["TrainingJobDefinition"]
    assert definition["AlgorithmSpecification"]["TrainingImage"] == "mine:1"
    assert definition["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == file_uri(tmp_path / "data/train")
    assert definition["OutputDataConfig"] == {"S3OutputPath": file_uri(tmp_path / "out")}
    assert definition["StaticHyperParameters"] == {"epochs": "1"}
    assert "TrainingJobName" not in definition
