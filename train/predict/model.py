"""Where a model is → the model: model.tar.gz, the folder it unpacks to, or a job's folder."""

import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from train.errors import DataError
from train.outputs.model_card import CLASSES, INPUT
from train.runtime.dataset_info import ENCODINGS

if TYPE_CHECKING:
    import tensorflow as tf

ARCHIVE = "model.tar.gz"
GRAPH = "saved_model.pb"
MAX_BYTES = 16 << 30  # that an archive may unpack to
_MAX_JSON = 16 << 20  # bytes
_MAX_FILES = 100_000
_MAX_ATTRIBUTES = 1 << 20  # bytes: a name of any file system is shorter
_ATTRIBUTES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_EXPECTED = f"Expected: a job's folder, its {ARCHIVE}, or the folder that this unpacks to, with 1/{GRAPH}."


@dataclass(frozen=True)
class Model:
    """shape: height, width, channels of the pictures; encoding: of the records that it learned from."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    encoding: str
    serve: Any

    def predict(self, images: "np.ndarray | tf.Tensor") -> np.ndarray:
        """(n, classes) float32 probabilities of uint8 pictures (n, height, width, channels)."""
        import tensorflow as tf

        return self.serve(tf.constant(images))["probabilities"].numpy()


@contextmanager
def open_model(path: Path) -> Iterator[Model]:
    """The model at `path`. DataError, one line, if there is none. A model is a program: what TensorFlow can, it can."""
    with tempfile.TemporaryDirectory(prefix="predict-", ignore_cleanup_errors=True) as scratch:
        yield _load(_find_folder(path, Path(scratch)))


def _find_folder(path: Path, scratch: Path) -> Path:
    """The folder with 1/ in it, unpacked if need be."""
    if path.is_dir() and not _find_versions(path) and (path / ARCHIVE).is_file():
        path = path / ARCHIVE
    if path.is_file():
        _unpack(path, scratch)
        path, received = scratch, f"{path}, an archive without it"
    else:
        received = str(path) if path.exists() else f"{path}, which does not exist"
    if not _find_versions(path):
        raise DataError(f"No model. Received: {received}. {_EXPECTED}")
    return path


def _find_versions(folder: Path) -> list[Path]:
    """The SavedModels' folders, 1/ and perhaps others, oldest first."""
    found = (graph.parent for graph in folder.glob(f"*/{GRAPH}") if graph.parent.name.isdecimal())
    return sorted(found, key=lambda version: int(version.name))


class _Entry(tarfile.TarInfo):
    """tarfile takes a long name and other attributes into memory, however long the archive says that they are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Entry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _ATTRIBUTES and entry.size > _MAX_ATTRIBUTES:
            raise ValueError(f"a name or attributes of {entry.size:,} bytes. Expected: at most {_MAX_ATTRIBUTES:,}")
        return entry


def _unpack(archive: Path, folder: Path) -> None:
    """What of the archive is needed, which are files: links and devices are left out. DataError for a bomb."""
    left = MAX_BYTES
    try:
        with tarfile.open(archive, tarinfo=_Entry) as tar:
            for number, member in enumerate(tar):
                left -= member.size
                if left < 0 or number >= _MAX_FILES:
                    raise DataError(
                        f"{archive} unpacks to more than {MAX_BYTES:,} bytes, or {_MAX_FILES:,} files: not a model."
                    )
                name = PurePosixPath(member.name)
                content = tar.extractfile(member) if member.isreg() and _is_needed(name) else None
                if content:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    with (folder / name).open("xb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].removesuffix(":")  # tarfile lists every way in which it has failed
        raise DataError(f"{archive} can't be unpacked: {reason}.") from None


def _is_needed(name: PurePosixPath) -> bool:
    """Whether it is of a SavedModel, or one of the files beside it; never a way out of the folder."""
    first = next(iter(name.parts), "")
    return ".." not in name.parts and (first.isdecimal() or str(name) in (CLASSES, INPUT))


def _load(folder: Path) -> Model:
    import tensorflow as tf  # here: what can't be unpacked is told at once

    version = _find_versions(folder)[-1]
    try:
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        (image,) = serve.structured_input_signature[1].values()
        shape, outputs = tuple(image.shape[1:].as_list()), serve.structured_outputs
        count = outputs["probabilities"].shape[1]
        if image.dtype != tf.uint8 or len(shape) != 3 or shape[2] not in (1, 3) or None in shape or not count:
            raise ValueError(f"serving_default takes {image.dtype.name} {image.shape}")
    except Exception as error:  # a damaged one makes TensorFlow raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{version} is no model of this training program. Received: {reason}. Expected: a SavedModel whose "
            "serving_default takes uint8 pictures and returns probabilities."
        ) from None
    names = _read_json(folder / CLASSES, [])
    if not isinstance(names, list) or len(names) != count:
        names = range(count)
    encoding = _read_json(folder / INPUT, {}).get("encoding")
    return Model(shape, tuple(map(str, names)), encoding if encoding in ENCODINGS else ENCODINGS[0], serve)


def _read_json(path: Path, default: Any) -> Any:
    """The default if it is not there, or of another type."""
    if not path.is_file():  # a model of an earlier version
        return default
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MAX_JSON))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} of the model can't be read: {error}.") from None
    return value if isinstance(value, type(default)) else default
