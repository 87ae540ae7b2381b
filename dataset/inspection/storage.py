"""Where shards are: a folder, or objects of S3 under a prefix. Each lists them and opens any; picklable."""

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dataset import manifest
from dataset.errors import DatasetError, describe_error
from dataset.manifest import Manifest
from dataset.s3 import one_line_failures, open_client

_BUFFER = 1 << 20
_MOST = 64 << 20  # bytes of a dataset.json
_SCHEME = "s3://"


@dataclass(frozen=True)
class Place:
    """A shard: its split, its path below the data set's folder, its size in bytes."""

    split: str
    path: str
    size: int


class Storage(Protocol):
    """Where shards are."""

    @property
    def name(self) -> str:
        """What the person calls it."""

    def list(self) -> dict[str, int]:
        """Every file below it and its size, sorted by path."""

    def open(self, path: str) -> Any:
        """A context manager of the file, to be read from front to back."""


def open_storage(text: str, endpoint_url: str | None) -> Storage:
    """For a folder or s3://bucket/prefix. DatasetError if there is neither."""
    if text.startswith(_SCHEME):
        bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
        if not bucket:
            raise DatasetError(f"no bucket. Received: {text}. Expected: s3://BUCKET/PREFIX")
        return S3Storage(text, bucket, prefix.strip("/"), endpoint_url)
    if not Path(text).is_dir():
        reason = "not a folder" if Path(text).exists() else "no such folder"
        raise DatasetError(f"{reason}. Received: {text}. Expected: a prepared folder, or s3://BUCKET/PREFIX")
    return FolderStorage(text)


@dataclass(frozen=True)
class FolderStorage:
    name: str

    def list(self) -> dict[str, int]:
        root = Path(self.name)
        try:
            files = sorted(path for path in root.rglob("*") if path.is_file())
            return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}
        except OSError as error:
            raise DatasetError(f"{root} cannot be read: {describe_error(error)}") from None

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        try:
            with (Path(self.name) / path).open("rb", buffering=_BUFFER) as file:
                yield file
        except OSError as error:
            raise DatasetError(f"{self.name}/{path} cannot be read: {describe_error(error)}") from None


@dataclass
class S3Storage:
    name: str
    bucket: str
    prefix: str
    endpoint_url: str | None
    _client: Any = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_client": None}  # each process has its own

    def list(self) -> dict[str, int]:
        base = f"{self.prefix}/" if self.prefix else ""
        with one_line_failures(self.bucket, self.prefix):
            pages = self._open_client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=base)
            objects = [entry for page in pages for entry in page.get("Contents", ())]
        return {entry["Key"].removeprefix(base): entry["Size"] for entry in objects}

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        key = f"{self.prefix}/{path}" if self.prefix else path
        with one_line_failures(self.bucket, self.prefix):
            body = self._open_client().get_object(Bucket=self.bucket, Key=key)["Body"]
            with closing(body):
                yield io.BufferedReader(_Body(body), _BUFFER)

    def _open_client(self) -> Any:
        self._client = self._client or open_client(self.endpoint_url)
        return self._client


class _Body(io.RawIOBase):
    """botocore's stream as a file."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_description(storage: Storage, files: dict[str, int]) -> Manifest | None:
    """dataset.json, if it is there. DatasetError if it is none."""
    if manifest.FILE not in files:
        return None
    try:
        with storage.open(manifest.FILE) as file:
            return manifest.from_json(file.read(_MOST).decode())
    except ValueError as error:
        raise DatasetError(f"{storage.name}: {manifest.FILE} is not a data set's description: {error}") from None


def find_strangers(files: dict[str, int], shards: list[Place]) -> list[str]:
    """What is wrong with files that lie among shards and are none: a channel reads all that is there, empty and hidden
    ones aside. Of a data set without dataset.json, which knows them."""
    folders, known = {_folder(shard.path) for shard in shards}, {shard.path for shard in shards}
    return [
        f"{path} is no shard, but a channel reads it"
        for path, size in files.items()
        if size and path not in known and _folder(path) in folders and not _is_hidden(path)
    ]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def find_shards(storage: Storage, files: dict[str, int], described: Manifest | None) -> list[Place]:
    """The shards that a channel would read: all files of train/ and validation/; without a dataset.json, all files that
    are called .tfrecord. DatasetError if there is none."""
    places = [Place(path.partition("/")[0] if "/" in path else "", path, size) for path, size in files.items()]
    found = [
        place
        for place in places
        if (place.split in manifest.SPLITS if described else ".tfrecord" in place.path) and not _is_hidden(place.path)
    ]
    if not found:
        raise DatasetError(
            f"no shards in {storage.name}. Expected: what `python -m dataset prepare` writes, train/*.tfrecord, …"
        )
    return found
