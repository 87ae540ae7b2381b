"""A trained model evaluated on records, in a processing job: `python -m train.evaluate` is its entry point.

Reads, below /opt/ml/processing: `model`, the model.tar.gz of a training job; `validation`, records as in a channel of
File mode; `dataset`, if it is there, their dataset.json. Writes `evaluation/evaluation.json`: what the training job's
own says, and the same as the model registry reads it. An error is one line, the job's ExitMessage.
"""

import argparse
import json
import logging
import os
import signal
import sys
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from train.errors import DataError, StopRequested, TrainingError
from train.outputs.evaluation import Evaluation, evaluate
from train.runtime import environment
from train.runtime.atomic_files import write_text
from train.runtime.dataset_info import ImageDatasetInfo, read_channel
from train.runtime.environment import Channel
from train.runtime.hyperparameters import Hyperparameters
from train.runtime.signals import stop_on_sigterm

MAX_BYTES = 16 << 30  # that an archive may unpack to
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, OSError)
_log = logging.getLogger(__name__)

Predict = Callable[[Any], Any]  # uint8 (n, height, width, channels) → float32 (n, classes), probabilities


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code. Any failure leaves its line in /opt/ml/output/message; one that is a bug has a traceback, too."""
    stop = stop_on_sigterm()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = Hyperparameters.batch_size
    parser.add_argument("--batch-size", type=int, default=size, help=f"pictures a step (default: {size})")
    options = parser.parse_args(arguments)
    root = Path(os.environ.get("SAGEMAKER_BASE_DIR", environment.OPT_ML))
    try:
        if options.batch_size < 1:
            raise TrainingError(f"--batch-size must be 1 or more. Received: {options.batch_size}.")
        run(root, options.batch_size, stop)
    except StopRequested:
        return 128 + signal.SIGTERM
    except Exception as error:
        _leave_message(root / "output/message", error)
        if not isinstance(error, TrainingError):
            raise
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def run(root: Path, batch_size: int, stop: threading.Event) -> Evaluation:
    """Evaluate what lies below `root`, which is /opt/ml on the service."""
    _check_hosts(root / "config/resourceconfig.json")
    data = root / "processing"
    with tempfile.TemporaryDirectory() as scratch:
        predict, info = _load_model(_unpack(data / "model", Path(scratch)))
        _check_classes(data, info)
        result = evaluate(_predictions(predict, data, info, batch_size, stop), len(info.classes))
    _write(data / "evaluation", result, info.classes)
    _log.info("accuracy %.4f, loss %.4f over %d pictures", result.accuracy, result.loss, result.examples)
    return result


def _check_hosts(path: Path) -> None:
    """Several hosts would each write the same object."""
    hosts = json.loads(path.read_text()).get("hosts", []) if path.exists() else []
    if len(hosts) > 1:
        raise TrainingError(f"One host evaluates. Received: InstanceCount {len(hosts)}. Expected: 1.")


def _unpack(folder: Path, scratch: Path) -> Path:
    """Where the model's files are: unpacked, or in `folder` as a job with CompressionType NONE leaves them."""
    archive = folder / "model.tar.gz"
    if (folder / "1").is_dir():
        return folder
    if not archive.is_file():
        raise TrainingError(
            f"There is no {archive}. Received: {_list(folder)}. Expected: the S3ModelArtifacts of a training job."
        )
    try:
        with tarfile.open(archive) as tar:
            size = 0
            for member in tar:
                size += member.size
                if size > MAX_BYTES:
                    raise TrainingError(f"{archive} unpacks to more than {MAX_BYTES:,} bytes.")
                tar.extract(member, scratch, filter="data")
    except _DAMAGE as error:
        raise TrainingError(f"{archive} can't be unpacked: {str(error) or type(error).__name__}.") from error
    return scratch


def _load_model(folder: Path) -> tuple[Predict, ImageDatasetInfo]:
    """The SavedModel that is served, and what its pictures and classes are."""
    import tensorflow as tf

    from train.outputs.export import VERSION
    from train.runtime import hardware

    hardware.limit_threads()
    hardware.share_gpus()
    try:
        classes = json.loads((folder / "classes.json").read_text())
        signature = tf.saved_model.load(str(folder / VERSION)).signatures["serving_default"]
        picture = signature.structured_input_signature[1]["image"]
        info = ImageDatasetInfo(tuple(picture.shape[1:]), tuple(map(str, classes)))
        if signature.structured_outputs["probabilities"].shape[1] != len(info.classes):
            raise ValueError(f"{len(info.classes)} classes for {signature.structured_outputs['probabilities'].shape}")
    except (OSError, KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise TrainingError(
            f"The model is not one that `train` has left: {error!r}. Received: {_list(folder)}. "
            f"Expected: {VERSION}/ (a SavedModel) and classes.json."
        ) from error
    return lambda images: signature(image=images)["probabilities"], info


def _list(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"


def _check_classes(data: Path, info: ImageDatasetInfo) -> None:
    """Labels are numbers: with other classes, or in another order, an accuracy would mean nothing."""
    channel = Channel("dataset", "File", data)
    if not channel.folder.exists():
        return
    described = read_channel(channel)
    if (described.classes, described.shape) != (info.classes, info.shape):
        raise DataError(
            f"The model was trained on other data. Received: {described.shape} of {', '.join(described.classes)}. "
            f"Expected: {info.shape} of {', '.join(info.classes)}."
        )


def _predictions(
    predict: Predict, data: Path, info: ImageDatasetInfo, batch_size: int, stop: threading.Event
) -> Iterator[tuple[Any, Any, Any]]:
    from train.input_pipeline.pipeline import for_validation
    from train.records.channels import open_channel

    source = open_channel(Channel("validation", "File", data), stop=stop)
    for images, labels in for_validation(source, info, batch_size):
        if stop.is_set():
            raise StopRequested
        yield images, labels, predict(images)


def _write(folder: Path, result: Evaluation, classes: tuple[str, ...]) -> None:
    text = json.dumps(result.as_json(classes) | result.as_model_quality(classes), indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "evaluation.json", text)
    except OSError as error:
        raise TrainingError(f"The evaluation can't be written to {folder}: {error.strerror}.") from error


def _leave_message(path: Path, error: Exception) -> None:
    """ExitMessage has what stands there. Where it can't be written, the log has it."""
    text = str(error) if isinstance(error, TrainingError) else f"{type(error).__name__}: {error}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as problem:
        sys.stderr.write(f"{path} can't be written: {problem.strerror}\n")


if __name__ == "__main__":
    sys.exit(main())
