"""A user's train.py, as the script or as a module of it, hides neither the drop-in nor `train.pipe`."""

import json
from pathlib import Path

import pytest

from tests.support.opt_ml import job_folder
from tests.support.train_jobs import TrainJob

READERS = (
    "from sagemaker_tensorflow import PipeModeDataset\nfrom train import pipe\nprint('found', pipe.pictures.__name__)\n"
)
SPAWNS = READERS.replace("print", "import multiprocessing\nprint") + (
    "if __name__ == '__main__':\n"
    "    child = multiprocessing.get_context('spawn').Process(target=print, args=('and', 'child'))\n"
    "    child.start()\n    child.join()\n    assert child.exitcode == 0\n"
)


@pytest.mark.parametrize(
    ("files", "program", "lines"),
    [
        ({"train.py": SPAWNS}, "train.py", ["found pictures", "and child"]),
        pytest.param(
            {"train.py": READERS, "run.sh": "#!/bin/sh\nexec python3 train.py\n"},
            "run.sh",
            ["found pictures"],
            marks=pytest.mark.slow,
        ),
        pytest.param({"src/train.py": READERS}, "src/train.py", ["found pictures"], marks=pytest.mark.slow),
        (
            {
                "train.py": "STEPS = 3\n",
                "main.py": "import train\nfrom sagemaker_tensorflow import PipeModeDataset\nimport train as again\n"
                "PipeModeDataset('train', 'TFRecord')\nprint('steps', train.STEPS, again is train)\n",
            },
            "main.py",
            ["steps 3 True"],
        ),
        (
            {
                "train.py": "STEPS = 3\n",
                "main.py": "from sagemaker_tensorflow import PipeModeDataset\n"
                "from train import STEPS\nprint('steps', STEPS)\n",
            },
            "main.py",
            ["steps 3"],
        ),
    ],
    ids=["script", "shell", "folder", "module", "module later"],
)
def test_a_users_train_hides_nothing(
    tmp_path: Path, start, files: dict[str, str], program: str, lines: list[str]
) -> None:
    job_folder(tmp_path, "Pipe", {})
    for name, text in files.items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(text)
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps({"sagemaker_program": json.dumps(program)}))
    job: TrainJob = start(tmp_path)
    assert job.wait() == 0, job.lines
    assert set(lines) <= set(job.lines), job.lines
