"""The user's program as a process: SIGTERM reaches it alone, its failure says why."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from sagemaker_training import environment as toolkit
from sagemaker_training import errors, logging_config, mapping, process

from train.errors import StopRequested
from train.script_mode.standard_error import StandardError, find_cause

_log = logging.getLogger(__name__)
_STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # of the program itself, or as a shell reports its child


class Program(process.ProcessRunner):
    """What `sagemaker_program` names, by the toolkit's own command.

    A stop before it has started ends the container: nothing is worth waiting for. One that comes later is the program's
    own, and the container waits for it as long as the platform lets it.
    """

    def __init__(self, environment: toolkit.Environment, stop: threading.Event) -> None:
        arguments = mapping.to_cmd_args(_with_own_model_dir(environment.hyperparameters))
        super().__init__(environment.user_entry_point, arguments, environment.to_env_vars(), 1)
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        threading.Thread(target=self._pass_on_stop, name="stop", daemon=True).start()

    def run(self, wait: bool = True, capture_error: bool = True) -> None:  # noqa: ARG002 - the toolkit's signature
        """Run it to its end. ExecuteUserScriptError, with the exception that ended it, where it fails."""
        command = self._create_command()
        logging_config.log_script_invocation(command, self._env_vars)
        standard_error = StandardError()
        with self._starting:
            self._process = subprocess.Popen(
                command, env=os.environ, cwd=toolkit.code_dir, stderr=standard_error.descriptor
            )
        code = self._process.wait()
        standard_error.close()
        if self._stop.is_set() and code in _STOPPED:
            raise StopRequested
        if code:
            raise errors.ExecuteUserScriptError(
                cmd=" ".join(command),
                return_code=code,
                output=find_cause(standard_error.text),
                info=f"Process killed by {signal.Signals(-code).name} (signal {-code})" if code < 0 else None,
            )

    def _create_command(self) -> list[str]:
        """The toolkit's, without a shell around a shell script: it would be the one to get SIGTERM."""
        command = self._command()
        if command[-3:-1] == ["/bin/sh", "-c"]:
            command[-1] = f"exec {command[-1]}"
        return command

    def _command(self) -> list[str]:
        command: list[str] = super()._create_command()
        return command

    def _send_stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)

    def _pass_on_stop(self) -> None:
        self._stop.wait()
        with self._starting:
            if self._process:
                _log.info("SIGTERM: passed on to the script")
                self._send_stop(self._process)
                return
            _log.info("Stopped before the script has started")
            sys.stdout.flush()
            os._exit(0)  # the main thread may be waiting for a download, pip or a host


def _with_own_model_dir(hyperparameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The jobs of a tuning job have its model_dir: each gets a folder of its own there, as in AWS's container."""
    model_dir = str(hyperparameters.get("model_dir"))
    if "_tuning_objective_metric" not in toolkit.read_hyperparameters() or not model_dir.startswith("s3://"):
        return hyperparameters
    return {**hyperparameters, "model_dir": f"{model_dir}/{os.environ.get('TRAINING_JOB_NAME')}/model"}
