"""From an accepted request to a running container: the local API beside `docker run` itself, and SDK v3's local mode.

Each container prints the time at which it runs. SDK v3 needs its environment (`make sdk-v3`) and Docker
Compose; without them it is left out.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.local_api import IMAGE, build_job, run_server
from benchmarks.measure import ROOT, describe_rounds, format_spread, make_parser, print_table, run_rounds

SDK = ROOT / ".venv-sdk-v3/bin/python"
TELL = 'python3 -c "import time; print(\\"running at\\", repr(time.time()), flush=True)"'
DOCKER = "docker run"
LOCAL_MODE = """
import sys, time
from sagemaker.core.shapes import Channel
from sagemaker.core.training.configs import Compute, SourceCode
from sagemaker.train import ModelTrainer
from sagemaker.train.model_trainer import Mode
trainer = ModelTrainer(training_mode=Mode.LOCAL_CONTAINER, training_image=sys.argv[1], role="arn:aws:iam::1:role/r",
                       compute=Compute(instance_type="local_cpu", instance_count=1), base_job_name="starting",
                       local_container_root=sys.argv[2], source_code=SourceCode(command=sys.argv[3]))
print("asked at", repr(time.time()), flush=True)
trainer.train([], wait=True)
"""


def main() -> None:
    """Print the table."""
    rounds = make_parser(__doc__, 7).parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch, run_server(Path(scratch, "api")) as client:
        sagemaker, folder = client("sagemaker"), Path(scratch, "api/training")
        candidates: dict[str, Callable[[], float]] = {
            DOCKER: plain,
            "local API, from the accepted request": lambda: by_api(sagemaker, folder),
        }
        if SDK.exists() and shutil.which("docker-compose"):
            candidates["SDK v3, local mode"] = lambda: local_mode(Path(scratch))
        figures = run_rounds(candidates, rounds, warm=True)
    rows = []
    for name, taken in figures.items():
        above = [one - base for one, base in zip(taken, figures[DOCKER], strict=True)]
        rows.append([name, format_spread(taken, ".2f"), format_spread(above, ".2f")])
    title = f"Start of a container; {describe_rounds(figures)}"
    print_table(title, ["way", "seconds", "seconds above docker run"], rows)


def parse_start(output: str) -> float:
    """When the container ran, in epoch seconds."""
    return float(re.findall(r"running at ([\d.]+)", output)[-1])


def plain() -> float:
    """Seconds."""
    began = time.time()
    done = subprocess.run(
        ["docker", "run", "--rm", IMAGE, "sh", "-c", TELL], capture_output=True, text=True, check=True
    )
    return parse_start(done.stdout) - began


def by_api(sagemaker: Any, folder: Path) -> float:
    """Seconds from the answer to CreateTrainingJob."""
    name = f"starting-{time.monotonic_ns()}"
    sagemaker.create_training_job(**build_job(name, TELL))
    accepted = time.time()
    while sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress":
        time.sleep(0.05)
    return parse_start((folder / name / "logs/algo-1.log").read_text()) - accepted


def local_mode(scratch: Path) -> float:
    """Seconds from the call of `train`."""
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    folder = scratch / "local-mode"
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(SDK), "-c", LOCAL_MODE, IMAGE, str(folder), TELL],
        env=os.environ | credentials | {"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
    )
    output = done.stdout + done.stderr
    return parse_start(output) - float(re.findall(r"asked at ([\d.]+)", output)[0])


if __name__ == "__main__":
    main()
