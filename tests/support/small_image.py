"""An image of a few MB from this machine's own shell; its `train` evaluates the variable PROGRAM."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from docker.errors import NotFound

IMAGE = f"local-test-tests:sh-{os.getpid()}"  # of this run: another one removes its own
PROGRAMS = (
    *("sh", "bash", "getent", "cat", "sleep", "head", "wc", "id", "ls", "mkdir", "chmod", "touch", "tail"),
    *("tar", "ln", "rm", "mv", "mknod", "stat"),
)
TRAIN = '#!/bin/sh\neval "$PROGRAM"\n'


@contextmanager
def small_image(engine: Any) -> Iterator[str]:
    """Its name; it is removed on leaving."""
    engine.api.import_image_from_data(_root_folder(), repository=IMAGE.split(":")[0], tag=IMAGE.split(":")[1])
    yield IMAGE
    with suppress(NotFound):  # another fixture has removed it
        engine.images.remove(IMAGE, force=True)


def _root_folder() -> bytes:
    files = {f"/bin/{name}": Path(shutil.which(name) or "") for name in PROGRAMS}
    for path in list(files.values()):
        listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True).stdout
        libraries = [word for word in listed.split() if word.startswith("/")]
        files.update({library: Path(library) for library in libraries})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in files.items():
            tar.add(path.resolve(), arcname=name.lstrip("/"))
        _add(tar, "bin/train", TRAIN.encode(), 0o755)
        _add(tar, "opt/ml/code/own", b"of the image\n", 0o644)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
