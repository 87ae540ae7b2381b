"""What the toolkit's `train` command calls: SAGEMAKER_TRAINING_MODULE=train.entrypoint:main."""

import gc
import logging
import os
import signal
import threading
from pathlib import Path

from sagemaker_training import entry_point
from sagemaker_training import environment as toolkit
from sagemaker_training.errors import ClientError

from train.errors import StopRequested, TrainingError
from train.runtime import environment
from train.runtime.signals import stop_on_sigterm

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the user's script if the request names one, else the built-in job.

    ClientError carries an expected failure: the toolkit writes its one line to /opt/ml/output/failure and exits with 1.
    Any other exception is a bug; the toolkit writes its traceback.
    """
    stop = stop_on_sigterm()
    logging.getLogger("train").setLevel(logging.INFO)
    root = Path(os.environ.get("SAGEMAKER_BASE_DIR", environment.OPT_ML))
    # The toolkit writes `failure` here; where it can't, its `finally: sys.exit(0)` turns the failure into a success.
    (root / "output").mkdir(parents=True, exist_ok=True)
    try:
        here = environment.read(root)
        if _script(here):
            run_script()
        else:
            run_job(here, stop)
    except TrainingError as error:
        raise ClientError(str(error)) from error
    except StopRequested:
        # The toolkit would write `success` after a return; a stopped job has neither succeeded nor failed.
        raise SystemExit(0) from None
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


def run_script() -> None:
    """Run the user's script through the toolkit: download, requirements, arguments, environment as in script mode."""
    env = toolkit.Environment()
    entry_point.run(env.module_dir, env.user_entry_point, env.to_cmd_args(), env.to_env_vars())


def _script(here: environment.Environment) -> bool:
    return "sagemaker_program" in here.hyperparameters or "SAGEMAKER_PROGRAM" in os.environ
