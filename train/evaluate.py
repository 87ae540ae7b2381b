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
import threading
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
from train.runtime.signals import heed_ctrl_c, stop_on_sigterm

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
        _prepare_devices()
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


def _prepare_devices() -> None:
    """Once a process, before TensorFlow computes."""
    from train.runtime import hardware  # here: TensorFlow takes seconds

    hardware.limit_threads()
    hardware.share_gpus()


def run(root: Path, batch_size: int, stop: threading.Event) -> Evaluation:
    """Evaluate what lies below `root`, which is /opt/ml on the service."""
    _check_hosts(root / "config/resourceconfig.json")
    data = root / "processing"
    from train.predict.model import open_model  # here: TensorFlow takes seconds

    with open_model(data / "model") as model:
        info = ImageDatasetInfo(model.shape, model.classes)
        _check_classes(data, info)
        result = evaluate(_predictions(model.predict, data, info, batch_size, stop), len(info.classes))
    _write(data / "evaluation", result, info.classes)
    _log.info("accuracy %.4f, loss %.4f over %d pictures", result.accuracy, result.loss, result.examples)
    return result


def _check_hosts(path: Path) -> None:
    """Several hosts would each write the same object."""
    hosts = json.loads(path.read_text()).get("hosts", []) if path.exists() else []
    if len(hosts) > 1:
        raise TrainingError(f"One host evaluates. Received: InstanceCount {len(hosts)}. Expected: 1.")


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
    heed_ctrl_c()
    sys.exit(main())
