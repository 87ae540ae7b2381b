"""What the job runs on: one line at the start of the log, a table at the end of the report."""

import os
import platform
from pathlib import Path

import keras
import tensorflow as tf

from train.environment import Environment


def facts(environment: Environment) -> dict[str, str]:
    """Host, cores and memory that this process may use, devices, versions, input modes."""
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "host": f"{environment.host}/{len(environment.hosts)}",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{_memory() / 2**30:.1f}GiB",
        "gpus": str(len(gpus)),
        "inputs": ",".join(f"{channel.name}:{channel.mode}" for channel in environment.channels.values()),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _memory() -> int:
    """Bytes: the machine's, or the control group's limit if that is smaller (version 2, then 1)."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(whole, int(Path(path).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return whole
