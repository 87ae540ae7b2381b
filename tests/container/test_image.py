"""The image as it is: what is in it, what is not, and that what was removed is not missed."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from dataset import tfrecord
from tests.container.conftest import UNPRIVILEGED, InImage
from tests.support.wheels import write_wheel

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]  # the first test to run may have to build the image

# 0.6 × 2,460 MB: the same base, gcc, pip install tensorflow-cpu sagemaker-training in one stage; benchmarks/image.py
# builds such an image and measures the ratio
MOST_BYTES = 1_476_000_000


@pytest.fixture(scope="session")
def described(image) -> dict:
    """docker image inspect."""
    shown = subprocess.run(["docker", "image", "inspect", image], capture_output=True, timeout=200, check=True)
    return json.loads(shown.stdout)[0]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True).stdout


def test_size(described):
    assert described["Size"] <= MOST_BYTES


def test_labels(described):
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in described["Config"]["Labels"].items()
    }
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert labels["revision"].removesuffix("-dirty") == git("rev-parse", "HEAD").strip()
    assert labels["created"] == git("show", "--no-patch", "--format=%cI", "HEAD").strip()
    assert re.match(r"\S+:\S+", labels["base.name"])
    assert "@" not in labels["source"].partition("://")[2].partition("/")[0], "a password?"


def test_unknown_variant_is_refused(described):
    base = described["Config"]["Labels"]["org.opencontainers.image.base.name"]
    build = [
        "docker",
        "build",
        "--force-rm",
        f"--build-arg=BASE={base}",
        "--build-arg=VARIANT=tpu",
        f"--file={ROOT}/container/Dockerfile",
    ]
    failed = subprocess.run([*build, ROOT], capture_output=True, text=True, timeout=600)
    assert failed.returncode != 0
    assert "Received: tpu. Expected cpu or gpu." in failed.stdout + failed.stderr


def test_started_as_the_service_does(described):
    config = described["Config"]
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert config["Cmd"] == ["train"]
    assert config["Entrypoint"] is None
    assert environment["SAGEMAKER_TRAINING_MODULE"] == "train.entrypoint:main"
    assert environment["PYTHONPATH"] == "/opt/program"
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["PATH"].split(":")[:2] == ["/opt/program/bin", "/opt/venv/bin"]  # our `train` comes first


def lines(in_image: InImage, script: str) -> list[str]:
    """What a shell script prints inside the image; `done` at its end shows that it ran."""
    shown = in_image("sh", "-c", f"{script}; echo done").stdout.splitlines()
    assert shown[-1:] == ["done"]
    return shown[:-1]


def test_nothing_of_the_build_is_left(in_image: InImage):
    tools = ("as", "c++", "cc", "gcc", "ld", "make", "strip")
    assert lines(in_image, f"for tool in {' '.join(tools)}; do command -v $tool; done") == []
    leftovers = "/opt/ml /root/.cache /tmp/* /var/lib/apt/lists/*_Packages*"
    assert lines(in_image, f"ls -d {leftovers} 2>/dev/null") == []
    assert lines(in_image, "ls /opt") == ["program", "venv"]


def test_nothing_idle_is_left(in_image: InImage):
    """Tests, static libraries, headers: what a job never opens. The expression finds what is there."""
    find = "find /opt '(' -name tests -o -name '*.a' -o -name '*.h' -o -name 'libclang*.so*' -o -name {extra} ')'"
    assert lines(in_image, find.format(extra="nothing")) == []
    assert lines(in_image, find.format(extra="entrypoint.py")) == ["/opt/program/train/entrypoint.py"]


def test_program_is_that_of_the_checkout(in_image: InImage):
    listing = in_image("sh", "-c", "cd /opt/program && find . -name '*.py' -exec sha256sum {} +").stdout
    inside = {path: digest for digest, path in (line.split() for line in listing.splitlines())}
    packages = ("sagemaker_tensorflow", "train")
    sources = {f"./{path.relative_to(ROOT)}": path for name in packages for path in (ROOT / name).rglob("*.py")}
    sources |= {f"./last/{path.relative_to(ROOT)}": path for path in (ROOT / "dataset").rglob("*.py")}
    sources["./sitecustomize.py"] = ROOT / "container/site/sitecustomize.py"
    assert inside == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sources.items()}


def test_pictures_are_prepared_in_it(in_image: InImage, tmp_path: Path) -> None:
    """As a pipeline's first step does. A package of the same name that a requirements.txt installs is found before."""
    for split, count in (("train", 4), ("validation", 2)):
        for shade in (0, 200):
            (tmp_path / f"zoo/{split}/{shade}").mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (shade + number,) * 3).save(tmp_path / f"zoo/{split}/{shade}/{number}.png")
    shutil.make_archive(str(tmp_path / "input/zoo"), "gztar", tmp_path / "zoo")
    command = "python3 -m dataset prepare --source /opt/ml/processing/input --out /tmp/data --shards 1"
    packages = "/opt/venv/lib/python3.11/site-packages"
    other = (
        f"cd {packages}; mkdir dataset; touch dataset/__init__.py; python3 -c 'import dataset; print(dataset.__file__)'"
    )
    options = (f"--volume={tmp_path}/input:/opt/ml/processing/input:ro", *UNPRIVILEGED)
    done = in_image("sh", "-ec", f"{command}; {other}", options=options)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "/tmp/data: 8 train pictures in 1 shard, 4 validation pictures in 1 shard, 2 classes, 8×8"
    assert last == f"{packages}/dataset/__init__.py"


def test_a_start_compiles_nothing(in_image: InImage):
    """Every module that a job imports has its bytecode in the image."""
    code = (
        "import os, sys, sagemaker_tensorflow, train.entrypoint, train.trainer.job, keras, tensorflow\n"
        "for module in list(sys.modules.values()):\n"
        "    cached = getattr(getattr(module, '__spec__', None), 'cached', None)\n"
        "    if cached and cached.startswith('/opt/') and not os.path.exists(cached): print(module.__name__)\n"
        "print('looked at', len(sys.modules) > 2000)"
    )
    done = in_image("python", "-", stdin=code)
    assert done.stdout == "looked at True\n", done.stderr


def test_pip_finds_nothing_missing(in_image: InImage):
    """A user's requirements.txt is installed on top of this."""
    assert in_image("pip", "check").stdout == "No broken requirements found.\n"


def test_no_program_makes_its_user_root(in_image: InImage):
    found = in_image("find", "/", "-xdev", "-type", "f", "-perm", "/6000")
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("options", [(), UNPRIVILEGED], ids=["root", "unprivileged"])
def test_workout(in_image: InImage, options):
    """Training, saving, loading, records, event files: tests/container/workout.py."""
    code = (Path(__file__).parent / "workout.py").read_text()
    done = in_image("python", "-W", "ignore", "-", options=options, stdin=code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("workout done\n")


@pytest.fixture
def optml() -> Iterator[Path]:
    """/opt/ml of a job in File mode that any user may write to, with 64 records a channel.

    Not under pytest's tmp_path, whose parents only its owner may enter.
    """
    base = Path(tempfile.mkdtemp(prefix="optml-", dir="/var/tmp"))
    for name in ("train", "validation"):
        (base / "input/data" / name).mkdir(parents=True)
        (base / "input/data" / name / "a.tfrecord").write_bytes(records(64))
    for name in ("code", "model", "output/data", "input/config"):
        (base / name).mkdir(parents=True)
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    config = {
        "hyperparameters": {"epochs": "1", "batch-size": "32"},
        "inputdataconfig": {"train": channel, "validation": channel},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
    }
    for name, value in config.items():
        (base / f"input/config/{name}.json").write_text(json.dumps(value))
    for path in (base, *base.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    yield base
    shutil.rmtree(base)


def records(count: int) -> bytes:
    pixels = os.urandom(32 * 32 * 3)
    return b"".join(tfrecord.frame(tfrecord.example(pixels, label % 10)) for label in range(count))


@pytest.mark.parametrize("command", [(), ("train",)], ids=["docker run IMAGE", "docker run IMAGE train"])
def test_trains_with_nothing_else_set(in_image: InImage, optml, command):
    """As the service starts it and as the SDK's local mode does; hardened, as another user."""
    done = in_image(*command, options=(*UNPRIVILEGED, f"--volume={optml}:/opt/ml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^epoch=1 step=2 train:loss=", done.stdout, re.MULTILINE)
    assert (optml / "output/success").exists()
    assert (optml / "model/1/saved_model.pb").exists()


@pytest.mark.parametrize("user", [(), UNPRIVILEGED], ids=["root", "unprivileged"])
def test_script_mode_with_requirements(in_image: InImage, optml, user):
    """A user's script, and what its requirements.txt names, through the toolkit."""
    write_wheel(optml / "code/greeting-1.0-py3-none-any.whl")
    (optml / "code/requirements.txt").write_text("./greeting-1.0-py3-none-any.whl\n")
    (optml / "code/train.py").write_text("import greeting, keras\nprint(greeting.WORD, keras.__version__)\n")
    options = (f"--volume={optml}:/opt/ml", "--env=SAGEMAKER_PROGRAM=train.py")
    done = in_image("train", options=(*options, *user, "--hostname=algo-1", "--add-host=algo-1:127.0.0.1"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^hello 3\.", done.stdout, re.MULTILINE)


@pytest.mark.docker
def test_a_stop_while_it_starts_ends_it_at_once(image, tmp_path):
    """The toolkit's own command has no handler for its first half second, and none at all as PID 1 without ours."""
    config = tmp_path / "input/config"
    config.mkdir(parents=True)
    (config / "inputdataconfig.json").write_text('{"train":{"TrainingInputMode":"Pipe"},"validation":{}}')
    (config / "hyperparameters.json").write_text("{}")
    (config / "resourceconfig.json").write_text('{"current_host":"algo-1","hosts":["algo-1"]}')
    for number, wait in enumerate((0.15, 0.3, 0.6, 1.5)):
        name = f"stop-at-start-{os.getpid()}-{number}"
        command = ["docker", "run", "--rm", "--name", name, f"--volume={tmp_path}:/opt/ml", image, "train"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            try:
                while subprocess.run(["docker", "top", name], capture_output=True, check=False).returncode:
                    assert running.poll() is None, running.stdout.read()
                time.sleep(wait)  # the moment is what is tested
                began = time.monotonic()
                subprocess.run(["docker", "kill", "--signal=TERM", name], check=True, capture_output=True)
                printed, _ = running.communicate(timeout=200)
                assert time.monotonic() - began < 60, (wait, printed)
                assert "Stopped in epoch 1 after step 0" in printed, (wait, printed)
            finally:
                subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    assert not (tmp_path / "output/success").exists()
