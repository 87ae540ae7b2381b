"""The S3 of this same process, read without a request: streaming a job's data then costs no more than `cat`."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from moto.core.exceptions import ServiceException
from moto.s3.models import FakeKey, s3_backends

from local_test.data.object_store import CHUNK_BYTES
from local_test.util.arns import ACCOUNT, DEFAULT_REGION

_META = "x-amz-meta-"


class InProcessS3:
    """An object_store.InProcess that reads from moto's S3. `make_buckets`: a bucket that is looked for is
    made, where nobody else could make it."""

    def __init__(self, *, make_buckets: bool = False) -> None:
        self._make_buckets = make_buckets

    def chunks(self, bucket: str, key: str) -> Iterator[bytes] | None:
        """The object's bytes at the time of the call; None if they can't be read so: then a request tells why."""
        found: Any = _s3().get_object(bucket, key)
        if found is None:
            return None
        with suppress(OSError, ValueError):  # it was replaced just now, or there is no /proc
            with found.lock:
                buffer = found._value_buffer
                if buffer._rolled:  # a large object lies in a file, of which moto keeps the only name
                    return _read(open(f"/proc/self/fd/{buffer.fileno()}", "rb", buffering=0))  # noqa: PTH123
                buffer.seek(0)
                content = buffer.read()  # a small one is in memory
            return (content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES))
        return None

    def sizes(self, bucket: str, prefix: str) -> list[tuple[str, int]] | None:
        """(key, bytes) of every object below the prefix; None if there is no such bucket: then a request tells why."""
        found = _s3().buckets.get(bucket)
        if found is None:
            return None
        with suppress(RuntimeError):  # an object came or went meanwhile
            keys, *_ = _s3().list_objects(found, prefix, None, None, None)
            return [(key.name, key.size) for key in keys]
        return None

    def objects(self, bucket: str) -> list[tuple[str, str, dict[str, str], str]]:
        """(key, content type, metadata, version) of the newest version of every object, whatever its policy or storage
        class; see s3_snapshot.Store."""
        versions = list(_s3().buckets[bucket].keys.items())
        return [
            (key.name, *_split_headers(key.metadata), _version(key)) for _, key in versions if isinstance(key, FakeKey)
        ]

    def buckets(self) -> list[tuple[str, str]]:
        """(name, region) of every bucket."""
        return [(bucket.name, bucket.region_name) for bucket in list(_s3().buckets.values())]

    def has_bucket(self, bucket: str) -> bool:
        if self._make_buckets and bucket not in _s3().buckets:
            with suppress(ServiceException):  # no bucket's name
                _s3().create_bucket(bucket, DEFAULT_REGION)
        return bucket in _s3().buckets


def _s3() -> Any:
    return s3_backends[ACCOUNT]["aws"]


def _version(key: FakeKey) -> str:
    """The same for the same bytes alone: the ETag is their MD5, and if they came in parts, of the parts' MD5."""
    return f"{key.etag} {key.size}" if key._etag else ""  # it is known once the object was answered for


def _split_headers(headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """(content type, metadata) of the headers that moto keeps with an object."""
    kept = {name.lower(): value for name, value in headers.items()}
    metadata = {name.removeprefix(_META): value for name, value in kept.items() if name.startswith(_META)}
    return kept.get("content-type", "binary/octet-stream"), metadata


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
