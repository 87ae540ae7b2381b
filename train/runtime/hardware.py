"""What the job runs on: one line at the start of the log, a table at the end of the report."""

import ctypes
import math
import mmap
import os
import platform
import re
from pathlib import Path

import keras
import tensorflow as tf

from train.errors import TrainingError
from train.runtime.environment import Environment

# what TensorFlow opens before it uses a GPU (tsl/platform/default/dso_loader.cc)
_CUDA_LIBRARIES = (
    "libcuda.so.1", "libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9", "libcufft.so.11",
    "libcupti.so.12", "libcusolver.so.11", "libcusparse.so.12",
)  # fmt: skip
_AMPERE = 8, 0  # the compute capability from which on GPUs have TF32 and bfloat16


def describe(environment: Environment) -> dict[str, str]:
    """Host, cores and memory that this process may use, devices, versions, input modes."""
    return {
        "host": f"{environment.host}/{len(environment.hosts)}",
        "cores": str(count_cores()),
        "memory": f"{_memory() / 2**30:.1f}GiB",
        "gpus": describe_gpus(),
        "inputs": ",".join(f"{channel.name}:{channel.mode}" for channel in environment.channels.values()),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def require_gpus(environment: Environment, dev: Path = Path("/dev")) -> None:
    """TrainingError if the host has GPUs and TensorFlow can't use them: a GPU's price for a processor's work.

    A host has them if NVIDIA's driver shows a device and the job is meant for it: by its instance type, or by an image
    with CUDA. CUDA_VISIBLE_DEVICES, empty or -1, is CUDA's own way to go without.
    """
    devices = sorted(path.name for path in dev.glob("nvidia[0-9]*"))
    meant = environment.instance_type.startswith(("ml.g", "ml.p")) or tf.test.is_built_with_cuda()
    hidden = environment.variables.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not devices or not meant or hidden or count_gpus():
        return
    raise TrainingError(
        f"The host has a GPU, but TensorFlow sees none. Received: {', '.join(f'/dev/{name}' for name in devices)}. "
        f"{_explain_missing_gpus()} To train without: CUDA_VISIBLE_DEVICES=-1 in the job's environment."
    )


def _explain_missing_gpus() -> str:
    if not tf.test.is_built_with_cuda():
        return "This image's TensorFlow is built without CUDA: container/build.sh --gpu makes one with it."
    missing = find_missing_libraries(Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2")
    if missing:
        return f"Can't be opened: {', '.join(missing)}."
    return "All of CUDA's libraries are there: does the driver fit CUDA 12 (nvidia-smi tells its version)?"


def find_missing_libraries(framework: Path) -> list[str]:
    """CUDA's libraries that are neither on the RUNPATH of TensorFlow's library nor known to the system."""
    with framework.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = re.search(rb"\$ORIGIN[^\0]*", content)  # the one string of its kind: the RUNPATH
        paths = found[0].decode().split(":") if found else ()
    folders = {Path(path.replace("$ORIGIN", str(framework.parent))) for path in paths}
    return [
        name for name in _CUDA_LIBRARIES
        if not any((folder / name).exists() for folder in folders) and not _opens(name)
    ]  # fmt: skip


def _opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def count_gpus() -> int:
    """Those that TensorFlow sees."""
    return len(tf.config.list_physical_devices("GPU"))


def describe_gpus() -> str:
    """How many; which, and what they take for float32: since Ampere, TF32 with its ten bits."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "0"
    details = tf.config.experimental.get_device_details(gpus[0])
    tf32 = details.get("compute_capability", (0, 0)) >= _AMPERE
    name = details.get("device_name", "unknown").replace(" ", "-")
    return f"{len(gpus)}×{name}" + (",float32-as-TF32" if tf32 else "")


def choose_precision(precision: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """`precision`; for "auto" mixed_bfloat16 if the GPUs, or without one the processor, compute in it, or float32."""
    if precision != "auto":
        return precision
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    if gpus:
        able = all(details.get("compute_capability", (0, 0)) >= _AMPERE for details in gpus)
    else:
        able = cpuinfo.exists() and re.search(r"avx512_bf16|amx_bf16", cpuinfo.read_text()) is not None
    return "mixed_bfloat16" if able else "float32"


def make_deterministic(wanted: bool) -> None:
    """The same weights at each run on a GPU, whose fastest kernels add in any order. A processor's always do so.

    To be called before TensorFlow computes.
    """
    if wanted and count_gpus():
        tf.config.experimental.enable_op_determinism()


def share_gpus() -> None:
    """Take a GPU's memory as it is needed, not all of it at the start; to be called before TensorFlow computes."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


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
