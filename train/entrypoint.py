"""What the toolkit's `train` command calls: SAGEMAKER_TRAINING_MODULE=train.entrypoint:main."""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from sagemaker_training.errors import ClientError

from train.errors import StopRequested, TrainingError
from train.runtime import environment
from train.runtime.signals import stop_on_sigterm
from train.script_mode import distribution
from train.script_mode.run import run_script


def main() -> None:
    """Run the user's script if the request names one, else the built-in job.

    ClientError carries an expected failure: the toolkit writes its one line to /opt/ml/output/failure and exits with 1.
    Any other exception is a bug; the toolkit writes its traceback.
    """
    stop = stop_on_sigterm()
    logging.getLogger("train").setLevel(logging.INFO)
    root = Path(os.environ.get("SAGEMAKER_BASE_DIR", environment.OPT_ML))
    try:
        (root / "output").mkdir(parents=True, exist_ok=True)
        _run(environment.read(root), stop)
    except StopRequested:
        # The toolkit would write `success` after a return; a stopped job has neither succeeded nor failed.
        raise SystemExit(0) from None
    except Exception as error:
        atexit.register(_exit_as_failed, root / "output/failure", str(error))
        if isinstance(error, TrainingError):
            raise ClientError(str(error)) from error
        raise
    finally:
        # When Python exits it restores the default handlers: SIGTERM would then kill a job that is done or stopping.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def run_job(here: environment.Environment, stop: threading.Event) -> None:
    """Train with this package. TensorFlow is imported here, so that a script's parent process does without."""
    gc.disable()  # the import makes a million objects that all stay: collecting meanwhile takes a sixth of its time
    from train.trainer import job

    gc.freeze()
    gc.enable()
    job.run(here, stop)


def _run(here: environment.Environment, stop: threading.Event) -> None:
    if "sagemaker_program" in here.hyperparameters or "SAGEMAKER_PROGRAM" in os.environ:
        distribution.check_options(here.hyperparameters)
        run_script(stop)
    else:
        distribution.check_options(here.hyperparameters, supported=())
        run_job(here, stop)


def _exit_as_failed(failure: Path, text: str) -> None:
    """The last word on the exit code. Where the toolkit can't write `failure` (a full disk), or the exception has an
    `errno` that is None, its `finally: sys.exit(0)` would turn a failure into a success."""
    if not failure.exists() or not failure.stat().st_size:
        sys.stderr.write(f"{failure} can't be written. Received: {text}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
