"""What the job runs on: one line at the start of the log, a table at the end of the report."""

import math
import os
import platform
from pathlib import Path

import keras
import tensorflow as tf

from train.runtime.environment import Environment


def describe(environment: Environment) -> dict[str, str]:
    """Host, cores and memory that this process may use, devices, versions, input modes."""
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "host": f"{environment.host}/{len(environment.hosts)}",
        "cores": str(count_cores()),
        "memory": f"{_memory() / 2**30:.1f}GiB",
        "gpus": str(len(gpus)),
        "inputs": ",".join(f"{channel.name}:{channel.mode}" for channel in environment.channels.values()),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def limit_threads() -> None:
    """As many threads for an operation as there are cores to run them; to be called before TensorFlow computes.

    TensorFlow itself looks at the machine: in a container with a smaller share its threads would wait for one another.
    """
    tf.config.threading.set_intra_op_parallelism_threads(count_cores())


def count_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Those that this process may run on, or its control group's share of them, rounded up (version 2, then 1)."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((root / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return allowed
    try:
        share = math.ceil(int(quota) / int(period))
    except (ValueError, ZeroDivisionError):  # "max"
        return allowed
    return max(1, min(allowed, share)) if share > 0 else allowed  # version 1 says -1 for no limit


def _memory() -> int:
    """Bytes: the machine's, or the control group's limit if that is smaller (version 2, then 1)."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(whole, int(Path(path).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return whole
