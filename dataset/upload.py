"""`upload`: a prepared folder → S3, checked before, checked by S3 on arrival, and only what is not there yet."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dataset import manifest
from dataset.console import progress_bar, say
from dataset.errors import DatasetError, describe_error
from dataset.manifest import Manifest
from dataset.s3 import PARALLEL, one_line_failures, open_client

_PUT_LIMIT = 5 << 30  # bytes of one PutObject; beyond, S3 wants several parts and has no SHA-256 of the whole
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Item:
    """A file to upload: its key, where it is, and what dataset.json says of it."""

    key: str
    path: Path
    size: int
    sha256: str


def upload(data: Path, bucket: str, prefix: str, endpoint_url: str | None = None) -> str:
    """Puts a prepared folder under s3://bucket/prefix/data/; returns a sentence on what was done.

    dataset.json goes last: where it is, everything it names is. Raises DatasetError, and does so before anything is
    sent if the folder is damaged or the place holds shards of another data set.
    """
    if "/" in bucket and not bucket.startswith("arn:"):
        raise DatasetError(f"--bucket must be a bucket's name alone. Received: {bucket}. Expected: my-bucket")
    described = manifest.read(data)
    base = "/".join(part for part in (prefix.strip("/"), "data") if part)
    shards = [Item(f"{base}/{name}", data / name, s.bytes, s.sha256) for name, s in described.files()]
    _check(described, data, shards)
    with one_line_failures(bucket, base):
        client = open_client(endpoint_url)
        there = _list_keys(client, bucket, base)
        _refuse_unknown(there, shards, bucket, base)
        sent = _send(client, bucket, shards, _description(data, base), there)
    skipped = len(shards) + 1 - sent
    if skipped:
        say(f"{skipped} of {len(shards) + 1} objects are there already, same size and checksum: skipped")
    return f"s3://{bucket}/{base}/: {sent} objects sent, {skipped} there already"


def _check(described: Manifest, data: Path, shards: list[Item]) -> None:
    if problem := manifest.find_damage(described, data):
        raise DatasetError(f"{problem}: run `python -m dataset prepare --out {data}` again")
    with (
        progress_bar(sum(item.size for item in shards), "check", "B") as done,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        for item, found in _each(threads, lambda item: _sha256(item.path), shards):
            if found != item.sha256:
                raise DatasetError(
                    f"{item.path} is not what {manifest.FILE} says. Received: sha256 {found}. Expected: {item.sha256}"
                )
            done.update(item.size)


def _description(data: Path, base: str) -> Item:
    path = data / manifest.FILE
    return Item(f"{base}/{manifest.FILE}", path, path.stat().st_size, _sha256(path))


def _list_keys(client: Any, bucket: str, base: str) -> dict[str, int]:
    """Keys under the prefix and their sizes."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{base}/")
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}


def _refuse_unknown(there: Iterable[str], shards: list[Item], bucket: str, base: str) -> None:
    """Raises DatasetError for other objects under the prefix: training would read them, too."""
    channels = tuple(f"{base}/{split}/" for split in manifest.SPLITS)
    strangers = sorted(key for key in set(there) - {item.key for item in shards} if key.startswith(channels))
    if strangers:
        raise DatasetError(
            f"s3://{bucket}/{base} holds {len(strangers)} objects of another data set, which a channel would read too. "
            f"Received: {strangers[0]}, … Remove them, or choose another --prefix"
        )


def _send(client: Any, bucket: str, shards: list[Item], description: Item, there: dict[str, int]) -> int:
    """How many were not there yet. On a failure or Ctrl-C nothing new is begun."""
    threads = ThreadPoolExecutor(PARALLEL)
    sent = 0
    with progress_bar(sum(item.size for item in shards), "upload", "B") as done:
        try:
            for item, new in _each(threads, lambda item: _put(client, bucket, item, there), shards):
                sent += new
                done.update(item.size)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
    return sent + _put(client, bucket, description, there)


def _put(client: Any, bucket: str, item: Item, there: dict[str, int]) -> bool:
    """Sends a file unless S3 has it. False: it has. S3 refuses what does not arrive with the checksum we announce."""
    checksum = base64.b64encode(bytes.fromhex(item.sha256)).decode()
    if there.get(item.key) == item.size:
        head = client.head_object(Bucket=bucket, Key=item.key, ChecksumMode="ENABLED")
        if head.get("ChecksumSHA256") == checksum:
            return False
    if item.size > _PUT_LIMIT:
        raise DatasetError(f"{item.path} is too large for one object: {item.size:,} bytes. Prepare with more --shards")
    with item.path.open("rb") as body:
        client.put_object(Bucket=bucket, Key=item.key, Body=body, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum)
    return True


def _each(threads: ThreadPoolExecutor, call: Callable[[T], R], items: list[T]) -> Iterator[tuple[T, R]]:
    return zip(items, threads.map(call, items), strict=True)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {describe_error(error)}") from None
