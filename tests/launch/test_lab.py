"""The notebook, from top to bottom, against the local API: real jobs of the real training program, on few pictures."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from launch.core import results
from launch.core.errors import LaunchError
from tests.support.pictures import draw_pictures
from tests.support.served import ROOT, Served

NOTEBOOK = ROOT / "launch/lab/lab.ipynb"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of two kinds."""
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "zoo", 120, 30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API as `make serve` starts it where there is no engine: jobs are processes of the real training program."""
    with Served(tmp_path_factory.mktemp("lab"), "--runner", "process", "--parallel", "2", own=False) as server:
        yield server
        assert "Traceback" not in server.end()


@pytest.fixture
def environment(served: Served, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.exports.items():
        monkeypatch.setenv(name, value)
    values = {"LAB": "local", "LAB_SOURCE": str(pictures), "LAB_EPOCHS": "1", "LAB_FOLDER": str(tmp_path / "lab")}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("environment")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs_whole(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    said = "\n".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert said.count("validation:accuracy") >= 2
    assert "6 runs are part of trial cifar10-" in said
    assert "of these 24 are right" in said
    assert "-- Succeeded" in said
    assert "version 1 of cv-keras-cifar10: accuracy " in said
    plots = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(plots) == 5  # pictures, metrics, tuning, experiments, predictions
    if kept := os.environ.get("LAB_KEPT"):  # to look at it
        nbformat.write(notebook, kept)


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in cells if cell.outputs or cell.execution_count is not None] == []


def test_what_a_command_says_is_shown_without_its_bars(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cells' own function. A warning, such as that pictures are drawn ones, stands above the last line."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    (source,) = (cell for cell in cells if "\ndef run(" in cell)
    names: dict[str, Any] = {"subprocess": subprocess, "sys": sys}
    exec("def run(" + source.partition("\ndef run(")[2], names)
    zoo = draw_pictures(tmp_path / "zoo", 4, 2)
    (zoo / "train/notes.txt").write_text("no picture")
    monkeypatch.chdir(ROOT)
    names["run"]("dataset", "prepare", "--source", str(zoo), "--out", str(tmp_path / "data"), "--shards", "1")
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "left out (the first: 'train/notes.txt')" in line]
    assert all(len(line) < 200 for line in lines), "progress is lines, and no bar drawn over itself"
    assert last.startswith(f"{tmp_path / 'data'}: 8 train pictures in 1 shard,")
    with pytest.raises(AssertionError):
        names["run"]("dataset", "prepare", "--source", str(tmp_path / "none"))
    assert "Received" in capsys.readouterr().out


def test_a_job_without_a_model(served: Served, tmp_path: Path) -> None:
    program = (
        "from launch.core import results\nfrom pathlib import Path\nimport sys\n"
        "from launch.core.errors import LaunchError, user_message\n"
        "try: results.fetch_model('none', Path(sys.argv[1]))\nexcept Exception as error: print(user_message(error))\n"
    )
    environment = {**os.environ, **served.exports}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "DescribeTrainingJob was refused: Requested resource not found. (ValidationException)" in done.stdout
    assert LaunchError.__doc__


def test_metrics_are_read_from_lines() -> None:
    lines = [
        "epoch=1 step=2 train:loss=1.5 train:accuracy=0.25 validation:loss=1.25 validation:accuracy=0.5 images/s=9",
        "something else",
        "epoch=2 step=4 train:loss=9.9e-05 train:accuracy=0.5 validation:loss=1.0 validation:accuracy=0.75 images/s=10",
    ]
    found = results.parse_metrics(lines)
    assert found["train:loss"] == [1.5, 9.9e-05]
    assert found["validation:accuracy"] == [0.5, 0.75]
    assert found["images/s"] == [9.0, 10.0]
