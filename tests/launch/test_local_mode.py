"""The SDKs' own local mode: Docker Compose runs the image with data as files. It knows neither FIFOs nor the API."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import sdk_python
from tests.support.missing import missing
from tests.support.pictures import prepare_shards

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(400)]
IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
HYPERPARAMETERS = {"model": "tutorial", "epochs": "1", "batch-size": "32"}
V2 = f"""
import sys
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
data, out = sys.argv[1:]
session = LocalSession(sagemaker_config={{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{
    "TelemetryOptOut": True}}}}}}}})
session.config = {{"local": {{"local_code": True, "container_root": out}}}}
estimator = Estimator("{IMAGE}", "arn:aws:iam::123456789012:role/any", 1, "local", output_path=f"file://{{out}}/model",
                      hyperparameters={HYPERPARAMETERS}, sagemaker_session=session)
estimator.fit({{name: f"file://{{data}}/{{name}}" for name in ("train", "validation", "dataset")}})
print("MODEL", estimator.model_data)
"""
V3 = f"""
import logging, sys
logging.basicConfig(level=logging.INFO)
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.train import ModelTrainer
from sagemaker.train.model_trainer import Mode
data, out = sys.argv[1:]
trainer = ModelTrainer(training_mode=Mode.LOCAL_CONTAINER, training_image="{IMAGE}",
                       role="arn:aws:iam::123456789012:role/any", base_job_name="local-mode",
                       compute=Compute(instance_type="local_cpu", instance_count=1), local_container_root=out,
                       hyperparameters={HYPERPARAMETERS})
names = "train", "validation", "dataset"
channels = [InputData(channel_name=name, data_source=f"{{data}}/{{name}}") for name in names]
trainer.train(channels, wait=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two kinds of pictures, a folder a channel."""
    out = prepare_shards(tmp_path_factory.mktemp("local-mode"), 80, 20)
    (out / "dataset").mkdir()
    shutil.move(out / "dataset.json", out / "dataset/dataset.json")
    return out


def model_of(folder: Path) -> list[str]:
    """Names in whatever form the mode leaves the model."""
    archives = list(folder.rglob("model.tar.gz"))
    if archives:
        with tarfile.open(archives[0]) as tar:
            return tar.getnames()
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


@contextmanager
def nothing_left(engine: Any) -> Iterator[None]:
    """What Compose makes goes with the test: containers, then their networks."""

    def made() -> tuple[list[Any], list[Any]]:
        of_compose = {"label": "com.docker.compose.project"}
        return engine.containers.list(all=True, filters=of_compose), engine.networks.list(names=["sagemaker-local"])

    before = {found.id for kind in made() for found in kind}
    try:
        yield
    finally:
        containers, networks = made()
        for container in containers:
            if container.id not in before:
                container.remove(force=True)
        for network in networks:
            if network.id not in before:
                network.remove()


@pytest.mark.parametrize(("version", "program"), [("v2", V2), ("v3", V3)])
def test_an_sdk_trains_the_image_by_itself(
    data: Path, tmp_path: Path, docker_engine: Any, version: str, program: str
) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    if not shutil.which("docker-compose"):
        missing("no docker-compose on PATH: Debian's package of that name has it")
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "program.py").write_text(program)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {
        **kept, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1", "HOME": str(tmp_path),
    }  # fmt: skip
    with nothing_left(docker_engine):
        done = subprocess.run(
            [sdk_python(version), str(tmp_path / "program.py"), str(data), str(out)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert "epoch=1 step=5 train:loss=" in said
    assert all(f"{name}:File" in said for name in ("train", "validation", "dataset"))
    assert any(name.endswith("1/saved_model.pb") for name in model_of(out)), model_of(out)
