"""Objects under an S3 URI, real (boto3, AWS_ENDPOINT_URL honoured) or local (file://), listed, streamed and put."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError

from local_test.errors import BadRequest, DataError
from local_test.util.atomic_files import check_folder, file_uri, local_path, refuse_file, write_whole

CHUNK_BYTES = 1 << 20
MOST_BYTES = (1 << 29) - 1  # of what is held in memory: an object as a record, a manifest
_MOST_KEY = 1024  # bytes
_BROKEN_READS = 5  # connections that may break within one object before it counts as unreadable
_S3_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 5})


@dataclass(frozen=True)
class StoredObject:
    """One object: `name` is its path below the prefix, where File mode puts it; `size` in bytes when it was listed."""

    uri: str
    name: str
    size: int

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine, None for an object in S3."""
        return local_path(self.uri)


def new_s3_client(endpoint_url: str | None = None) -> Any:
    """A client of a session of its own: boto3's default session is not safe to create from threads."""
    return boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=_S3_CONFIG)


def open_object_store(environ: Mapping[str, str]) -> "ObjectStore":
    """The S3 that AWS_ENDPOINT_URL_S3 names there, else the one that boto3 finds."""
    return ObjectStore(lambda: new_s3_client(environ.get("AWS_ENDPOINT_URL_S3")))


class InProcess(Protocol):
    """An S3 that answers without a request; None where it does not have the answer."""

    def chunks(self, bucket: str, key: str) -> Iterator[bytes] | None: ...
    def sizes(self, bucket: str, prefix: str) -> list[tuple[str, int]] | None: ...
    def has_bucket(self, bucket: str) -> bool | None: ...


class ObjectStore:
    """Lists, reads and writes objects. Safe for threads.

    A client, which needs a region and credentials, is made for the first s3:// URI that `in_process` does not answer.
    `allow_files`: whether file:// URIs are followed, wherever they stand; BadRequest if not. `keep`: what `keep` calls.
    """

    def __init__(
        self,
        new_client: Callable[[], Any] = new_s3_client,
        in_process: InProcess | None = None,
        *,
        allow_files: bool = True,
        keep: Callable[[], None] | None = None,
    ) -> None:
        self._keep = keep
        self._new_client, self._in_process, self._allow_files = new_client, in_process, allow_files
        self._client: Any = None
        self._lock = threading.Lock()

    def keep(self) -> None:
        """What was put is on disk from here on, where somebody sees to that."""
        if self._keep:
            self._keep()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            client.close()

    def _s3(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def _path(self, uri: str) -> Path | None:
        """Where it lies on this machine, None for one in S3."""
        path = local_path(uri)
        if path is not None and not self._allow_files:
            raise refuse_file(uri)
        return path

    def objects(self, uri: str) -> list[StoredObject]:
        """Everything under the prefix in the order of keys, as S3 lists it; folder markers left out.

        A file:// prefix is one file or all files below a folder. DataError if it can't be listed, with the reason.
        """
        path = self._path(uri)
        if path is not None:
            return _local_objects(path)
        bucket, prefix = split_s3(uri)
        found = self._in_process.sizes(bucket, prefix) if self._in_process else None
        if found is None:
            found = self._s3_sizes(bucket, prefix)
        return [
            StoredObject(f"s3://{bucket}/{key}", object_name(prefix, key), size)
            for key, size in sorted(found, key=lambda item: item[0].encode())
            if not key.endswith("/")
        ]

    def _s3_sizes(self, bucket: str, prefix: str) -> list[tuple[str, int]]:
        """(key, bytes) of every object."""
        try:
            pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", [])]
        except (BotoCoreError, ClientError) as error:
            raise DataError(s3_reason(error)) from None

    def has_bucket(self, uri: str) -> bool:
        """False only if S3 says that there is none: one that may not be looked at may still be written to. BadRequest
        for a file:// URI of what is no folder, or can't be written to."""
        if (path := self._path(uri)) is not None:
            check_folder(path, "It")
            return True
        bucket = split_s3(uri)[0]
        if self._in_process and self._in_process.has_bucket(bucket):
            return True
        try:
            self._s3().head_bucket(Bucket=bucket)
        except ClientError as error:
            return error.response["Error"]["Code"] not in ("404", "NoSuchBucket")
        except BotoCoreError as error:
            raise BadRequest(f"{uri} can't be reached: {s3_reason(error)}") from None
        return True

    def chunks(self, item: StoredObject) -> Iterator[bytes]:
        """The object's bytes, at most CHUNK_BYTES at a time. A broken connection is taken up where it broke."""
        path = self._path(item.uri)
        return _file_chunks(path) if path else self._from_s3(item)

    def _from_s3(self, item: StoredObject) -> Iterator[bytes]:
        # now, not when the channel was laid out: it may hold the content
        found = self._in_process.chunks(*split_s3(item.uri)) if self._in_process else None
        yield from self._s3_chunks(item) if found is None else found

    def _s3_chunks(self, item: StoredObject) -> Iterator[bytes]:
        bucket, key = split_s3(item.uri)
        offset, broken = 0, 0
        version: dict[str, str] = {}
        while True:
            try:
                rest = {"Range": f"bytes={offset}-"} if offset else {}
                response = self._s3().get_object(Bucket=bucket, Key=key, **rest, **version)
                version = {"IfMatch": response["ETag"]}  # never the rest of another object
                with closing(response["Body"]) as body:
                    while chunk := body.read(CHUNK_BYTES):
                        offset += len(chunk)
                        yield chunk
                return
            except (HTTPClientError, IncompleteReadError) as error:
                broken += 1
                if broken > _BROKEN_READS:
                    raise DataError(f"{item.uri} broke off at byte {offset}: {s3_reason(error)}") from None
            except (BotoCoreError, ClientError) as error:
                raise DataError(f"{item.uri} can't be read: {s3_reason(error)}") from None

    def read(self, uri: str, most: int | None = None) -> bytes:
        """The whole object. DataError if it can't be read, or has more bytes."""
        try:
            return join_chunks(self.chunks(StoredObject(uri, "", 0)), uri, most)
        except OSError as error:
            raise DataError(f"{uri} can't be read: {error.strerror}") from None

    def download(self, item: StoredObject, path: Path) -> None:
        """The object as a file; its folder is made. Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.writelines(self.chunks(item)))

    def put(self, source: BinaryIO, uri: str) -> None:
        """Copies the file to that exact URI, replacing what is there. Whole or not at all, in a folder too. `source`
        may be closed by it."""
        target = self._path(uri)
        try:
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, lambda whole: shutil.copyfileobj(source, whole, CHUNK_BYTES))
            else:
                bucket, key = split_s3(uri)
                self._s3().upload_fileobj(source, bucket, key)
        except (BotoCoreError, ClientError, boto3.exceptions.S3UploadFailedError) as error:
            raise DataError(f"{uri} can't be written: {s3_reason(error)}") from None


def join_chunks(chunks: Iterator[bytes], what: str, most: int | None = None) -> bytes:
    """All of them. DataError, naming `what`, for more bytes than `most`, else than a record of RecordIO may hold."""
    most = MOST_BYTES if most is None else most
    found, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise DataError(f"{what} is too large. Received: more than {most} bytes, unpacked")
        found.append(chunk)
    return b"".join(found)


def split_s3(uri: str) -> tuple[str, str]:
    """(bucket, key or prefix) of s3://bucket/key."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise BadRequest(f"not a URI of objects. Received: {uri}. Expected s3://bucket/prefix or file:///folder")
    return bucket, key


def join_uri(uri: str, *names: str) -> str:
    """The URI with names below it."""
    return "/".join([uri.rstrip("/"), *names])


def name_problem(uri: str) -> str:
    """Why no object can have that URI; empty if one can."""
    try:
        uri.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    is_long = uri.startswith("s3://") and len(split_s3(uri)[1].encode()) > _MOST_KEY
    return f"S3's keys have at most {_MOST_KEY} bytes" if is_long else ""


def object_name(prefix: str, key: str) -> str:
    """Where File mode puts an object below the channel's folder.

    The part after the prefix taken as a folder; for a prefix that ends within a name (S3 prefixes are plain strings),
    and for an object that is itself the prefix, the part after the prefix's last slash.
    """
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    name = key[len(folder) :] if key.startswith(folder) else key[prefix.rfind("/") + 1 :]
    name = name.lstrip("/")  # a slash too many, as joined addresses have it, is none in a path
    if ".." in PurePosixPath(name).parts:
        raise DataError(f"an object's key leaves the channel's folder. Received: {key}")
    if "\0" in name:
        raise DataError(f"an object's key is no name of a file: it has the character U+0000. Received: {key!r}")
    return name


def s3_reason(error: Exception) -> str:
    """S3's own words where it answered, boto's where it didn't; one line."""
    response = getattr(error, "response", None) or {}
    return " ".join(str(response.get("Error", {}).get("Message") or error).split())


def _local_objects(path: Path) -> list[StoredObject]:
    if not path.is_dir():
        return [StoredObject(file_uri(path), path.name, path.stat().st_size)] if path.is_file() else []
    found = []
    for folder, names in _walk(path):
        for name in names:
            file = Path(folder, name)
            with suppress(FileNotFoundError):  # gone since it was listed, or a dangling link
                if file.is_file():
                    found.append((file.relative_to(path).as_posix(), file.stat().st_size))
    return [
        StoredObject(file_uri(path / name), name, size) for name, size in sorted(found, key=lambda f: os.fsencode(f[0]))
    ]


def _walk(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[tuple[Path, list[str]]]:
    """Each folder and the names in it that are no folders; through links, too, but not back into a folder that the way
    has led through: links may form a circle. DataError if one can't be read."""
    try:
        below = {path.name: path.is_dir() for path in folder.iterdir()}
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror}") from None
    inside = above | {os.path.realpath(folder)}
    yield folder, [name for name, is_folder in below.items() if not is_folder]
    for name, is_folder in below.items():
        if is_folder and os.path.realpath(folder / name) not in inside:
            yield from _walk(folder / name, inside)


def _file_chunks(path: Path) -> Iterator[bytes]:
    """What the file holds when it is opened: bytes added later belong to the next reading."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            chunk = file.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise DataError(f"{path} became {left} bytes shorter while it was read")
            left -= len(chunk)
            yield chunk
