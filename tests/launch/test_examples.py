"""launch/examples as its reader goes through it: pictures of one's own and a model of one's own."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.served import ROOT

IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
EXAMPLES = ROOT / "launch/examples"
pytestmark = pytest.mark.timeout(400)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=350)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's pictures as shards, by the docs' commands."""
    folder = tmp_path_factory.mktemp("shapes")
    drawn = run("launch/examples/draw_shapes.py", str(folder / "pictures"), "--train", "800", "--validation", "100")
    assert drawn.returncode == 0, drawn.stderr
    source, out = str(folder / "pictures"), str(folder / "shapes")
    prepared = run("-m", "dataset", "prepare", "--source", source, "--image-size", "64", "--out", out)
    assert prepared.returncode == 0, prepared.stderr
    return folder / "shapes"


@pytest.mark.parametrize("runner", ["process", pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow])])
@pytest.mark.slow
def test_the_examples_model_learns_the_examples_pictures(
    shapes: Path, tmp_path: Path, runner: str, request: pytest.FixtureRequest
) -> None:
    if runner == "docker":
        request.getfixturevalue("docker_engine")
    done = run(
        "-m", "local_test", "train", "--job", str(EXAMPLES / "training_job.json"), "--runner", runner,
        "--image", IMAGE, "--channel", f"train={shapes / 'train'}", "--channel", f"code={EXAMPLES / 'own_model.py'}",
        "--out", str(tmp_path), "--name", "shapes",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    described = json.loads((tmp_path / "shapes/describe.json").read_text())
    assert {channel["ChannelName"] for channel in described["InputDataConfig"]} == {
        "train", "validation", "dataset", "code",
    }  # fmt: skip
    values = {metric["MetricName"]: metric["Value"] for metric in described["FinalMetricDataList"]}
    assert values["validation:accuracy"] > 0.9, done.stdout
    with tarfile.open(tmp_path / "shapes/model.tar.gz") as archive:
        names = archive.extractfile("classes.json")
        assert names
        assert json.load(names) == ["circle", "square", "triangle"]


def test_the_example_differs_from_the_main_job_in_what_the_docs_say() -> None:
    main, own = (
        json.loads(path.read_text()) for path in (ROOT / "launch/training_job.json", EXAMPLES / "training_job.json")
    )
    assert own["HyperParameters"].pop("model") == "own_model.py"
    code = own["InputDataConfig"].pop()
    assert (code["ChannelName"], code["InputMode"]) == ("code", "File")
    for job in (main, own):
        job.pop("HyperParameters")
    assert json.loads(json.dumps(own).replace("/shapes", "")) == main
