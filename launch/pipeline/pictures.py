"""Uploads the pictures that a pipeline begins with: an archive, below its own digest."""

import hashlib
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from botocore.exceptions import ClientError

from launch.core.console import say
from launch.core.errors import LaunchError
from launch.core.preflight import client
from launch.core.request import PREFIX

FOLDER = f"{PREFIX}/pictures"


def upload(path: Path, bucket: str) -> str:
    """The folder below s3://BUCKET/cv_keras_cifar10/pictures/ in which the archive is.

    Its name is the digest of the archive: what a cached step has made of other pictures is never taken for these.
    LaunchError if nothing can be read at `path`.
    """
    try:
        with _open_archive(path) as (name, file):
            digest = _digest(file)[:16]
            size = file.tell()
            key = f"{FOLDER}/{digest}/{name}"
            if not _is_there(bucket, key, size):
                say(f"-- upload {path} to s3://{bucket}/{key}, {size:,} bytes")
                file.seek(0)
                client("s3").upload_fileobj(file, bucket, key)
    except OSError as error:
        raise LaunchError(f"--pictures can't be read: {error.strerror}. Received: {path}.") from error
    return digest


def check_there(bucket: str, dataset: str) -> None:
    """LaunchError unless there is an object in that folder."""
    prefix = f"{FOLDER}/{dataset}/"
    if not client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents"):
        raise LaunchError(
            f"There are no pictures. Received: nothing at s3://{bucket}/{prefix}. Give --pictures PATH, or put an "
            "archive of them there."
        )


@contextmanager
def _open_archive(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content: the file as it is, a folder as a tar."""
    if not path.is_dir():
        if path.exists() and not path.is_file():  # a FIFO or a device may have no end
            raise LaunchError(f"--pictures must be a file or a folder. Received: {path}.")
        with path.open("rb") as file:
            if not _is_archive(file):
                raise LaunchError(f"--pictures must be a zip, a tar or a folder. Received: {path}.")
            file.seek(0)
            yield path.name, file
        return
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", dereference=True) as tar:
            files = [picture for picture in sorted(path.rglob("*")) if picture.is_file()]
            if not files:
                raise LaunchError(f"--pictures has no file in it. Received: {path}.")
            for picture in files:
                _add(tar, picture, picture.relative_to(path).as_posix())
        file.seek(0)
        yield "pictures.tar", file


def _is_archive(file: IO[bytes]) -> bool:
    if zipfile.is_zipfile(file):
        return True
    file.seek(0)
    return tarfile.is_tarfile(file)


def _digest(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Content and name alone: the same pictures are the same archive on every machine."""
    info = tarfile.TarInfo(name)
    info.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(info, file)


def _is_there(bucket: str, key: str, size: int) -> bool:
    try:
        return client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] == size
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "403"):  # 403: who may not list isn't told
            return False
        raise
