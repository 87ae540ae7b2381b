"""What XLA has compiled, beside the checkpoints: a job that goes on loads its programs in place of compiling them.

TensorFlow's own cache (tf_xla_persistent_cache_directory) fails the step if a file of it is damaged or can't be written
(device_compiler.h), and a job may be killed while it writes. So it gets a temporary folder; between that and the
checkpoints whole files are copied, whose names have their digest.
"""

import atexit
import functools
import hashlib
import logging
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

import tensorflow as tf

from train.runtime import hardware
from train.runtime.atomic_files import write_whole

_log = logging.getLogger(__name__)

_LEAST_ROOM = 1 << 28  # bytes of the temporary folder's disk; a program takes one or two million


class ProgramCache:
    """Make it before TensorFlow looks for devices, since then it reads its flags; `save` with each checkpoint."""

    def __init__(self, checkpoints: Path) -> None:
        self._kept, self._names = checkpoints / "xla", set[str]()
        self._used = Path(tempfile.mkdtemp(prefix="xla-"))
        atexit.register(shutil.rmtree, self._used, ignore_errors=True)
        if shutil.disk_usage(self._used).free < _LEAST_ROOM:
            _log.info("XLA's programs are not kept: %s has less than %d MB of room", self._used, _LEAST_ROOM >> 20)
            return
        flags = os.environ.get("TF_XLA_FLAGS", "")
        os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={self._used}".strip()
        self._device = _digest(f"{tf.__version__} {hardware.describe_gpus()} {_describe_processor()}".encode())
        try:
            self._load()
        except OSError as error:
            _log.info("XLA compiles anew: what it compiled before can't be read (%s)", error)
        if self._names:
            _log.info(
                "Programs that XLA compiled before: %d. TensorFlow's 'Error parsing text-format' of each is no failure",
                len(self._names),
            )  # fmt: skip

    def save(self) -> None:
        """Keep what was compiled since. A program that can't be kept is compiled again by a later job."""
        try:
            for path in self._used.glob("*.pb"):
                if path.name not in self._names:
                    self._kept.mkdir(exist_ok=True)
                    program = path.read_bytes()
                    kept = self._kept / f"{self._device}-{_digest(program)}-{path.name}"
                    write_whole(kept, functools.partial(_write, program))
                    self._names.add(path.name)
        except OSError as error:
            _log.info("What XLA compiled is not kept: %s", error)

    def _load(self) -> None:
        """Those for this TensorFlow and device; others, and what is left of an interrupted copy, are removed."""
        for path in self._kept.glob("*"):
            device, digest, name = (*path.name.split("-", 2), "", "")[:3]
            program = path.read_bytes()
            if device == self._device and digest == _digest(program):
                (self._used / name).write_bytes(program)
                self._names.add(name)
            else:
                path.unlink()


def _write(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _describe_processor() -> str:
    """Its model and what it can compute: a program for another one may crash."""
    found = re.findall(r"^(?:model name|flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{platform.machine()} {' '.join(sorted(set(found)))}"
