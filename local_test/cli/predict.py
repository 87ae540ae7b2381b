"""`predict`: what a job's model says of pictures, told by the training program's own `train.predict`.

It runs as a process where this Python has TensorFlow, which takes seconds; else in the image, so that the platform
alone is enough. A model is a program: in the image it has no network, and reads nothing but itself and the pictures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from botocore.exceptions import BotoCoreError

from local_test.cli.jobs import add_place_options, open_finder
from local_test.cli.options import ChooseRunner, Commands, positive, say_note
from local_test.data.object_store import ObjectStore, open_object_store
from local_test.errors import BadRequest
from local_test.places.base import is_name
from local_test.request.builder import LOCAL_IMAGE
from local_test.request.job_kind import TRAINING
from local_test.runners.base import ContainerSpec, Runner
from local_test.runners.logs import Lines
from local_test.runners.process import PROGRAM, python_path
from local_test.runners.select import CHECKOUT, CHOICES
from local_test.util.atomic_files import local_path
from local_test.util.console import printable

_EXAMPLE = "Such as: %(prog)s shapes picture.jpg holiday/ --top 1"
_MODULE = "train.predict"
_LINE_BYTES = 16 << 20  # of a picture's line, with all classes
_INSIDE = "/opt/predict"  # where a container sees model and pictures


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser("predict", help="what a job's model says of pictures", epilog=_EXAMPLE)
    parser.set_defaults(run=run)
    add = parser.add_argument
    text = "a job's name or folder, its model.tar.gz, here or s3://…, or the folder that this unpacks to"
    add("model", metavar="MODEL", help=text)
    add("pictures", nargs="+", metavar="PICTURE", help="a file, or a folder of them")
    add("--top", type=positive, default=3, metavar="N", help="classes told of each picture (default: 3)")
    add("--json", action="store_true", help="a JSON object a line: picture, class, probability, top; or picture, error")
    add(
        "--runner",
        choices=CHOICES,
        default="auto",
        help="auto: a process if this Python has TensorFlow, else the image",
    )
    add("--image", default=LOCAL_IMAGE, metavar="IMG", help=f"the image to run (default: {LOCAL_IMAGE})")
    add_place_options(parser)


def run(args: argparse.Namespace) -> str:
    """Completed, or Failed if the model or a picture can't be read."""
    can_run_here = CHECKOUT is not None and find_spec("tensorflow") is not None
    if args.runner == "process" and not can_run_here:
        raise BadRequest(
            "predict needs a checkout and TensorFlow to run as a process. Run make env, or --runner docker"
        )
    options = [f"--top={args.top}", *(["--json"] if args.json else [])]
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        model = _find_model(args, Path(scratch))
        if args.runner == "docker" or not can_run_here:
            choose_runner: ChooseRunner = args.choose_runner
            with closing(choose_runner("docker", None, None, None, say_note)) as runner:
                code = _run_container(runner, args.image, model, args.pictures, options)
        else:
            code = _run_process(model, args.pictures, options)
    return "Failed" if code else "Completed"


def _find_model(args: argparse.Namespace, scratch: Path) -> Path:
    """A path, or what the job of that name has left, fetched if it is in S3. BadRequest if there is neither."""
    if Path(args.model).exists():
        return Path(args.model)
    if "://" in args.model:
        with closing(open_object_store(os.environ)) as storage:
            return _fetch(storage, args.model, scratch)
    if not is_name(args.model):
        raise BadRequest(
            f"There is no such model. Received: {args.model}. Expected: a job's name or folder, its model.tar.gz, or "
            "the folder that this unpacks to"
        )
    with open_finder(args) as finder:
        job = finder.find(args.model, TRAINING, "predict")
        uri = job.description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        if not uri:
            raise BadRequest(f"This training job has left no model. Received: {job.name}, which is {job.status}")
        with closing(job.place.open_storage(job.description)) as storage:
            return _fetch(storage, uri, scratch)


def _fetch(storage: ObjectStore, uri: str, scratch: Path) -> Path:
    """The archive, or the folder of a job whose output is not packed."""
    try:
        if (path := local_path(uri)) and path.exists():
            return path
        objects = storage.objects(uri)
        for item in objects:
            storage.download(item, scratch / item.name)
    except (BotoCoreError, OSError) as error:
        raise BadRequest(f"The model can't be read: {error}. Received: {uri}") from None
    if not objects:
        raise BadRequest(f"There is no such model. Received: {uri}. Expected: a job's model.tar.gz")
    is_archive = len(objects) == 1 and objects[0].uri == uri
    return scratch / objects[0].name if is_archive else scratch


def _run_process(model: Path, pictures: list[str], options: list[str]) -> int:
    assert CHECKOUT
    environment = {**os.environ, **PROGRAM, "PYTHONPATH": python_path(CHECKOUT)}
    # -P: a script called train.py in this folder is not the package
    command = [sys.executable, "-P", "-m", _MODULE, *options, "--", str(model), *pictures]
    return subprocess.run(command, env=environment, check=False).returncode


def _run_container(runner: Runner, image: str, model: Path, pictures: list[str], options: list[str]) -> int:
    inputs = {model.resolve(): f"{_INSIDE}/model/{model.resolve().name}"}
    for number, picture in enumerate(pictures):
        if not (path := Path(picture).resolve()).exists():
            raise BadRequest(f"There is no such picture. Received: {picture}")
        inputs.setdefault(path, f"{_INSIDE}/{number}/{path.name}")
    inside = [inputs[path.resolve()] for path in (model, *map(Path, pictures))]
    with tempfile.TemporaryDirectory(prefix="predict-") as base:
        spec = ContainerSpec(
            job="predict",
            host="algo-1",
            image=image,
            base=Path(base),
            entrypoint=("python3", "-m", _MODULE),
            arguments=(*options, f"--shown={json.dumps(pictures)}", "--", *inside),
            folders=(),
            inputs=inputs,
            network=False,
        )
        runner.check(spec)
        with closing(runner.start(spec)) as container:
            _write(container.output())
            ended = container.wait()
            return ended.code if ended else 1


def _write(output: Iterator[tuple[str, bytes]]) -> None:
    """What a container says, on the stream that it says it on: its lines are the model's, too, which may print."""
    lines = {name: Lines(_LINE_BYTES) for name in ("stdout", "stderr")}
    for name, data in output:
        _write_lines(name, lines[name].feed(data))
    for name, left in lines.items():
        _write_lines(name, left.end())


def _write_lines(name: str, lines: list[str]) -> None:
    stream = getattr(sys, name)
    stream.writelines(f"{printable(line)}\n" for line in lines)
    stream.flush()
