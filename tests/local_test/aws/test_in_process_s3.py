"""Objects of moto's S3 in this process, read without a request."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from moto.s3.models import s3_backends

from local_test.aws.in_process_s3 import InProcessS3
from local_test.data.object_store import ObjectStore, StoredObject
from local_test.util.arns import ACCOUNT

BUCKET = "inside-bucket"


@pytest.fixture
def backend() -> Iterator[Any]:
    found = s3_backends[ACCOUNT]["aws"]
    found.create_bucket(BUCKET, "us-east-1")
    yield found
    for key in list(found.buckets[BUCKET].keys):
        found.delete_object(BUCKET, key)
    found.delete_bucket(BUCKET)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (20 << 20) + 7])  # the last one is on disk
def test_an_object_of_any_size(backend: Any, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    backend.put_object(BUCKET, "folder/key", content)
    storage = ObjectStore(in_process=InProcessS3())  # which has no client, so a request would fail
    assert storage.read(f"s3://{BUCKET}/folder/key") == content


@pytest.mark.parametrize("size", [3 << 20, 20 << 20])
def test_several_readers_and_a_writer_do_not_meet(backend: Any, size: int) -> None:
    backend.put_object(BUCKET, "key", b"a" * size)
    chunks = InProcessS3().chunks(BUCKET, "key")
    assert chunks
    first = next(chunks)
    backend.put_object(BUCKET, "key", b"b" * size)
    found: list[bytes] = []
    readers = [
        threading.Thread(target=lambda: found.append(b"".join(InProcessS3().chunks(BUCKET, "key") or ())))
        for _ in range(4)
    ]
    for reader in readers:
        reader.start()
    assert set(first + b"".join(chunks)) == {ord("a")}  # as it was when it was asked for
    for reader in readers:
        reader.join(100)
    assert found == [b"b" * size] * 4


def test_what_is_not_there_is_left_to_s3(backend: Any) -> None:
    assert InProcessS3().chunks(BUCKET, "nothing") is None
    asked: list[str] = []

    class Client:
        def get_object(self, **members: Any) -> Any:
            asked.append(members["Key"])
            raise KeyError

        def close(self) -> None: ...

    storage = ObjectStore(Client, InProcessS3())
    with pytest.raises(KeyError):
        next(storage.chunks(StoredObject(f"s3://{BUCKET}/nothing", "nothing", 1)))
    assert asked == ["nothing"]


def test_a_prefix_is_listed_without_a_request(backend: Any) -> None:
    for key, content in (("a/2", b"22"), ("a/1", b"1"), ("b", b"x"), ("a/ä", b"")):
        backend.put_object(BUCKET, key, content)
    storage = ObjectStore(in_process=InProcessS3())
    found = [(item.uri, item.name, item.size) for item in storage.objects(f"s3://{BUCKET}/a/")]
    assert found == [(f"s3://{BUCKET}/a/{name}", name, size) for name, size in (("1", 1), ("2", 2), ("ä", 0))]
    assert storage.objects(f"s3://{BUCKET}/c") == []
    assert len(storage.objects(f"s3://{BUCKET}")) == 4


def test_a_bucket_is_found_without_a_request(backend: Any) -> None:
    assert ObjectStore(in_process=InProcessS3()).has_bucket(f"s3://{BUCKET}/anything")


def test_that_a_bucket_is_missing_is_left_to_s3() -> None:
    def no_client() -> Any:
        raise KeyError("asked")

    storage = ObjectStore(no_client, InProcessS3())
    for ask in (storage.has_bucket, storage.objects):
        with pytest.raises(KeyError, match="asked"):
            ask("s3://no-such-bucket/prefix")
