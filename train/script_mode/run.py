"""Script mode from the request to the end of the user's program."""

import json
import os
import socket
import threading
import time
from pathlib import Path

from sagemaker_training import entry_point, errors, files
from sagemaker_training import environment as toolkit

from train.errors import TrainingError
from train.script_mode import distribution, mpi
from train.script_mode.standard_error import capture_standard_error, find_pip_errors

_HOSTS_SECONDS = 900.0  # for which the toolkit, too, waits for the names of all hosts


def run_script(stop: threading.Event) -> None:
    """Fetch the source, install what it requires, run it. TrainingError, or the toolkit's ClientError, if it fails."""
    environment = toolkit.Environment()
    program = mpi.make_program(environment, stop)
    _fetch(environment)
    _install(environment)
    hosts, host = distribution.read_hosts(environment), environment.current_host
    nameless = os.environ.get("SM_STUDIO_LOCAL_MODE", "").lower() == "true"
    if nameless and hosts == [host]:  # TensorFlow would wait without end for the name to resolve
        hosts, host = ["localhost"], "localhost"
    config = distribution.make_tf_config(environment.additional_framework_parameters, hosts, host)
    variables = environment.to_env_vars()
    toolkit.write_env_vars(variables | {"TF_CONFIG": json.dumps(config)} if config else variables)
    if not nameless:
        _await_names(environment.hosts)
    with distribution.serve_parameters(config, hosts, host):
        program.run()


def _fetch(environment: toolkit.Environment) -> None:
    source, name, code = environment.module_dir, environment.user_entry_point, Path(toolkit.code_dir)
    try:
        files.download_and_extract(source, str(code))
    except Exception as error:  # whatever botocore, tarfile and the file system raise
        raise TrainingError(
            f"The script's source can't be fetched. Received: sagemaker_submit_directory {source}: "
            f"{' '.join(str(error).split())}. Expected: a folder, or the address of a sourcedir.tar.gz."
        ) from error
    if not (code / name).exists() and not (code / "setup.py").exists():
        there = ", ".join(sorted(path.name for path in code.iterdir())[:10]) or "nothing"
        raise TrainingError(f"The source has no {name}, which sagemaker_program names. Received: {there}.")


def _install(environment: toolkit.Environment) -> None:
    """requirements.txt and setup.py, by the toolkit."""
    try:
        with capture_standard_error() as standard_error:
            entry_point.install(environment.user_entry_point, toolkit.code_dir)
    except (errors.InstallModuleError, errors.InstallRequirementsError) as error:
        raise TrainingError(
            f"What the script requires can't be installed. Received: {find_pip_errors(standard_error.text)}"
        ) from error


def _await_names(hosts: list[str]) -> None:
    deadline = time.monotonic() + _HOSTS_SECONDS
    for host in hosts:
        while not _resolves(host):
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"The name of a host does not resolve within {_HOSTS_SECONDS:g} s. Received: {host}. "
                    "Without a network set SM_STUDIO_LOCAL_MODE=true."
                )
            time.sleep(1)


def _resolves(host: str) -> bool:
    try:
        socket.gethostbyname(host)
    except OSError:
        return False
    return True
