"""The SDK's `distribution` options: TF_CONFIG and parameter servers as AWS's TensorFlow container has them.

Source: sagemaker_tensorflow_container/training.py of sagemaker-tensorflow-training 20.5.0. MPI is in mpi.py. All other
options need libraries that no image here has; they are refused, since a job that ignores one trains something else.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sagemaker_training import environment as toolkit

from train.errors import TrainingError

_log = logging.getLogger(__name__)
MIRRORED = "sagemaker_multi_worker_mirrored_strategy_enabled"
PARAMETER_SERVER = "sagemaker_parameter_server_enabled"
MPI = "sagemaker_mpi_enabled"
_SUPPORTED = (MIRRORED, PARAMETER_SERVER, MPI)
_MIRRORED_PORT, _WORKER_PORT, _SERVER_PORT = 8890, 2222, 2223
_MASTER_SECONDS = 10.0  # between two looks at the master
_NONE = ("", "false", "null", "0", "{}")
_SERVE = """
import json, os, tensorflow as tf
config = json.loads(os.environ["TF_CONFIG"])
tf.distribute.Server(config["cluster"], "ps", config["task"]["index"]).join()
"""


def check_options(hyperparameters: Mapping[str, Any], supported: Sequence[str] = _SUPPORTED) -> None:
    """TrainingError for an option that would change how a job trains, and can't be followed."""
    for name, value in hyperparameters.items():
        switch = name.startswith("sagemaker_") and name.endswith("_enabled")
        if (switch or name == "mp_parameters") and name not in supported and _text(value) not in _NONE:
            expected = " or ".join(supported) or "none: the built-in program trains on all hosts by itself"
            raise TrainingError(
                f"The distribution option {name} is not supported. Received: {_text(value)}. Expected: {expected}."
            )


def make_tf_config(options: Mapping[str, Any], hosts: Sequence[str], host: str) -> dict[str, Any] | None:
    """TF_CONFIG's content for a script on `host`; None if no option asks for it.

    With parameter servers the first of `hosts` is the master, the others are workers, and each has a server.
    """
    if host not in hosts:  # of an instance group without distribution
        return None
    if options.get(PARAMETER_SERVER) and len(hosts) > 1:
        master, *workers = hosts
        cluster = {
            "master": _addresses([master], _WORKER_PORT),
            "ps": _addresses(hosts, _SERVER_PORT),
            "worker": _addresses(workers, _WORKER_PORT),
        }
        task = {"index": 0, "type": "master"}
        if host != master:
            task = {"index": workers.index(host), "type": "worker"}
    elif options.get(MIRRORED):
        cluster = {"worker": _addresses(hosts, _MIRRORED_PORT)}
        task = {"index": hosts.index(host), "type": "worker"}
    else:
        return None
    return {"cluster": cluster, "environment": "cloud", "task": task}


@contextmanager
def serve_parameters(config: Mapping[str, Any] | None, hosts: Sequence[str], host: str) -> Iterator[None]:
    """This host's parameter server, if there are any: it stays until the master's script has ended."""
    if not config or "ps" not in config["cluster"]:
        yield
        return
    own = {**config, "task": {"index": hosts.index(host), "type": "ps"}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(own), "CUDA_VISIBLE_DEVICES": ""}  # a GPU has one process
    _log.info("Starting the parameter server of %s", host)
    server = subprocess.Popen([sys.executable, "-c", _SERVE], env=environment)
    try:
        yield
        if host != hosts[0]:
            _await_end_of(hosts[0])
    finally:
        server.kill()
        server.wait()


def read_hosts(environment: toolkit.Environment) -> list[str]:
    return list(environment.distribution_hosts or environment.hosts)


def _addresses(hosts: Sequence[str], port: int) -> list[str]:
    return [f"{host}:{port}" for host in hosts]


def _await_end_of(master: str) -> None:
    while True:
        try:
            socket.create_connection((master, _WORKER_PORT), _MASTER_SECONDS).close()
        except OSError:
            return
        threading.Event().wait(_MASTER_SECONDS)


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value)).strip('"').lower()
