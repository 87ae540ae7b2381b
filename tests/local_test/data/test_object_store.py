"""The real client against a real server of S3's protocol, and local folders."""

import gzip
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from local_test.data import object_store
from local_test.data.channels import Channel, _gunzip, find_channels
from local_test.data.fifo_feeder import Feeder
from local_test.data.object_store import CHUNK_BYTES, ObjectStore, StoredObject, object_name
from local_test.errors import BadRequest, DataError
from local_test.util.atomic_files import file_uri, local_path
from tests.support.local_jobs import request_for


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def new_client(endpoint: str) -> Callable[[], Any]:
    def new() -> Any:
        return boto3.session.Session("test", "test", region_name="us-east-1").client(
            "s3", endpoint_url=endpoint, config=Config(retries={"max_attempts": 1})
        )

    return new


@pytest.fixture
def bucket(new_client: Callable[[], Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A bucket object of the test's own."""
    client = new_client()
    name = f"bucket-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    client.create_bucket(Bucket=name)
    yield lambda key, body: client.put_object(Bucket=name, Key=key, Body=body) and f"s3://{name}"
    client.close()


@pytest.fixture
def s3(new_client: Callable[[], Any]) -> Iterator[ObjectStore]:
    store = ObjectStore(new_client)
    yield store
    store.close()


def test_a_prefix_is_every_matching_key_in_order(bucket: Any, s3: ObjectStore) -> None:
    for key in ("data/train/b", "data/train/a", "data/train-2/c", "data/train/", "data/validation/d"):
        root = bucket(key, key.encode())
    found = s3.objects(f"{root}/data/train")
    assert [(item.uri, item.name, item.size) for item in found] == [
        (f"{root}/data/train-2/c", "train-2/c", 14),
        (f"{root}/data/train/a", "a", 12),
        (f"{root}/data/train/b", "b", 12),
    ]
    assert [item.name for item in s3.objects(f"{root}/data/train/a")] == ["a"]


@pytest.mark.slow
def test_more_objects_than_a_page(bucket: Any, s3: ObjectStore) -> None:
    for index in range(1005):
        root = bucket(f"many/{index:04d}", b"")
    assert [item.name for item in s3.objects(f"{root}/many/")] == [f"{index:04d}" for index in range(1005)]


def test_objects_stream_into_a_fifo(bucket: Any, s3: ObjectStore, tmp_path: Path) -> None:
    contents = {f"train/{name}": os.urandom(2 * CHUNK_BYTES + 7) for name in "ab"}
    for key, body in contents.items():
        root = bucket(key, body)
    channel = Channel("train", "Pipe", f"{root}/train/", tuple(s3.objects(f"{root}/train/")))
    feeder = Feeder(tmp_path / "train", lambda n: channel.contents(n, s3))
    feeder.start()
    for n in range(2):
        assert feeder.path(n).read_bytes() == b"".join(contents.values())
    with feeder.path(2).open("rb") as fifo:  # closed early, in the middle of an object
        fifo.read(10)
    feeder.stop()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # nothing was stored first


def test_a_broken_connection_is_taken_up_where_it_broke(bucket: Any, new_client: Callable[[], Any]) -> None:
    body = os.urandom(3 * CHUNK_BYTES)
    root = bucket("object", body)
    ranges: list[str | None] = []

    class Breaking:
        """A client whose first two answers break off."""

        def __init__(self) -> None:
            self._client = new_client()

        def get_object(self, **arguments: Any) -> Any:
            ranges.append(arguments.get("Range"))
            response = self._client.get_object(**arguments)
            if len(ranges) < 3:
                response["Body"] = _BreaksAfter(response["Body"], CHUNK_BYTES // 2)
            return response

        def close(self) -> None:
            self._client.close()

    store = ObjectStore(Breaking)
    found = b"".join(store.chunks(StoredObject(f"{root}/object", "object", len(body))))
    store.close()
    assert found == body
    assert ranges == [None, f"bytes={CHUNK_BYTES // 2}-", f"bytes={CHUNK_BYTES}-"]


class _BreaksAfter:
    def __init__(self, body: Any, size: int) -> None:
        self._body, self._left = body, size

    def read(self, size: int) -> bytes:
        from botocore.exceptions import ReadTimeoutError

        if not self._left:
            raise ReadTimeoutError(endpoint_url="http://s3")
        chunk = self._body.read(min(size, self._left))
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._body.close()


def test_a_missing_object_and_a_missing_bucket(bucket: Any, s3: ObjectStore) -> None:
    root = bucket("there", b"")
    with pytest.raises(DataError, match=r"/absent can't be read: .*does not exist"):
        list(s3.chunks(StoredObject(f"{root}/absent", "absent", 1)))
    with pytest.raises(DataError, match="bucket does not exist"):
        s3.objects("s3://no-such-bucket-here/x")


def test_a_channel_without_objects_names_its_uri(bucket: Any, s3: ObjectStore, tmp_path: Path) -> None:
    root = bucket("other/a", b"")
    request = request_for("job", tmp_path, {"train": tmp_path})
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = f"{root}/train/"
    with pytest.raises(
        BadRequest, match=f'No S3 objects found under S3 URL "{root}/train/" given in input data source'
    ):
        find_channels(request, s3)
    source["S3Uri"] = "s3://no-such-bucket-here/train/"
    with pytest.raises(BadRequest, match=r"Error message from S3: .*bucket does not exist"):
        find_channels(request, s3)
    (tmp_path / "empty").mkdir()
    source["S3Uri"] = file_uri(tmp_path / "empty")
    with pytest.raises(BadRequest, match="No S3 objects found"):
        find_channels(request, s3)


def test_an_endpoint_that_does_not_answer_is_one_line() -> None:
    def dead() -> Any:
        session = boto3.session.Session("test", "test", region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=2)
        return session.client("s3", endpoint_url="http://127.0.0.1:1", config=config)

    store = ObjectStore(dead)
    with pytest.raises(DataError, match="Could not connect"):
        store.objects("s3://bucket/x")
    store.close()


def test_download_and_put_are_whole(bucket: Any, s3: ObjectStore, tmp_path: Path) -> None:
    root = bucket("a", b"content")
    s3.download(StoredObject(f"{root}/a", "a", 7), tmp_path / "deep/a")
    assert (tmp_path / "deep/a").read_bytes() == b"content"
    for uri in (f"{root}/b", file_uri(tmp_path / "put here/b")):
        with (tmp_path / "deep/a").open("rb") as file:
            s3.put(file, uri)
    assert b"".join(s3.chunks(StoredObject(f"{root}/b", "b", 7))) == b"content"
    assert [path.name for path in (tmp_path / "put here").iterdir()] == ["b"]


def test_local_folders_are_listed_like_prefixes(tmp_path: Path, storage: ObjectStore) -> None:
    for name in ("b/2", "a", "b/1 x", "Z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for link, target in {"dangling": "nowhere", "itself": "itself", "c": "b"}.items():
        (tmp_path / link).symlink_to(target)
    for n in range(4):  # circles: each way through them would be 40 folders long
        (tmp_path / f"b/circle-{n}").symlink_to("..")
        (tmp_path / f"here-{n}").symlink_to(".")
    found = storage.objects(file_uri(tmp_path))
    assert [item.name for item in found] == ["Z", "a", "b/1 x", "b/2", "c/1 x", "c/2"]
    assert b"".join(storage.chunks(found[-1])).decode() == "b/2"


def test_one_client_however_many_threads_ask_first(new_client: Callable[[], Any], bucket: Any) -> None:
    made: list[Any] = []

    def counted() -> Any:
        made.append(new_client())
        return made[-1]

    root, store = bucket("a", b""), ObjectStore(counted)
    threads = [threading.Thread(target=store.objects, args=(root,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert len(made) == 1


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("d/t/", "d/t/a", "a"),
        ("d/t", "d/t/x/a", "x/a"),
        ("d/t", "d/t", "t"),
        ("d/t", "d/tx/a", "tx/a"),
        ("", "a/b", "a/b"),
        ("d/t", "d/t//x//a", "x//a"),
        ("d/t/", "d/t//a", "a"),
    ],
)
def test_where_file_mode_puts_an_object(prefix: str, key: str, name: str) -> None:
    assert object_name(prefix, key) == name


def test_a_key_that_would_leave_the_folder() -> None:
    with pytest.raises(DataError, match="leaves the channel's folder"):
        object_name("d/", "d/../../etc/passwd")


def test_what_unpacks_to_more_than_a_record_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "MOST_BYTES", 3 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(4 << 20)))
    request = described(file_uri(tmp_path / "a.gz"), S3DataType="S3Prefix")
    request["InputDataConfig"][0]["CompressionType"] = "Gzip"
    (channel,) = find_channels(request, store := ObjectStore())
    with pytest.raises(DataError, match=r"a\.gz is too large\. Received: more than 3145728 bytes, unpacked"):
        list(channel.contents(0, store))
    (tmp_path / "m").write_bytes(bytes(4 << 20))
    with pytest.raises(BadRequest, match=r"/m is too large"):
        find_channels(described(file_uri(tmp_path / "m"), S3DataType="ManifestFile"), store)


def test_names_that_no_file_can_have() -> None:
    with pytest.raises(DataError, match=r"no name of a file: it has the character U\+0000. Received: 'd/a\\x00b'"):
        object_name("d/", "d/a\0b")
    with pytest.raises(BadRequest, match=r"no file has a name with the character U\+0000. Received: 'file:///a%00b'"):
        local_path("file:///a%00b")


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 50))
def test_gzip_is_the_same_wherever_chunks_end(members: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    chunks = (packed[start : start + size] for start in range(0, len(packed), size))
    assert b"".join(_gunzip(chunks, "x")) == b"".join(members)


def test_gzip_is_decompressed_in_bounded_pieces() -> None:
    pieces = list(_gunzip(iter([gzip.compress(bytes(20 * CHUNK_BYTES))]), "x"))
    assert sum(map(len, pieces)) == 20 * CHUNK_BYTES
    assert max(map(len, pieces)) <= CHUNK_BYTES


@pytest.mark.parametrize(
    ("data", "message"), [(b"plain text", "x is not gzip"), (gzip.compress(b"abc" * 99)[:-9], "x is truncated")]
)
def test_bad_gzip(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(_gunzip(iter([data]), "x"))


@given(st.integers(0, 30), st.integers(-(2**63), 2**63 - 1))
def test_shuffle_re_orders_objects_by_seed_and_epoch(count: int, seed: int) -> None:
    objects = tuple(StoredObject(f"s3://b/{index}", str(index), 1) for index in range(count))
    channel = Channel("c", "Pipe", "s3://b", objects, shuffle_seed=seed)
    assert sorted(channel.order(0), key=lambda item: int(item.name)) == list(objects)
    assert channel.order(3) == channel.order(3)
    if count > 20:
        assert channel.order(0) != channel.order(1)
    assert Channel("c", "Pipe", "s3://b", objects).order(5) == list(objects)


def test_channel_defaults_and_modes(tmp_path: Path, storage: ObjectStore, data: Path) -> None:
    request = request_for("job", tmp_path, {"train": data, "labels": data})
    request["InputDataConfig"][1] |= {"InputMode": "File", "ContentType": "x/y", "ShuffleConfig": {"Seed": 3}}
    train, labels = find_channels(request, storage)
    assert (train.mode, train.distribution, train.size, train.content_type) == ("Pipe", "FullyReplicated", 30, None)
    assert (labels.mode, labels.content_type, labels.shuffle_seed) == ("File", "x/y", 3)
    request["InputDataConfig"][1]["CompressionType"] = "Gzip"
    with pytest.raises(BadRequest, match=r"Channel labels: CompressionType Gzip needs input mode Pipe. Received: File"):
        find_channels(request, storage)


def described(uri: str, **source: Any) -> dict[str, Any]:
    """A request with one channel at `uri`."""
    request = request_for("j", Path("/"), {"train": Path("/")})
    (channel,) = request["InputDataConfig"]
    channel["DataSource"]["S3DataSource"].update(source, S3Uri=uri)
    channel["RecordWrapperType"] = "RecordIO"
    return request


@pytest.mark.parametrize(
    ("prefix", "name", "below"),
    [("m/d", "/a.txt", "a.txt"), ("m/d/", "a.txt", "a.txt"), ("m/", "d/a.txt", "d/a.txt"), ("m/d/a", ".txt", "a.txt")],
)
def test_a_manifests_prefix_and_name_are_one_key(
    bucket: Any, s3: ObjectStore, prefix: str, name: str, below: str
) -> None:
    root = bucket("m/d/a.txt", b"content")
    bucket("list", json.dumps([{"prefix": f"{root}/{prefix}"}, name]).encode())
    (channel,) = find_channels(described(f"{root}/list", S3DataType="ManifestFile"), s3)
    assert [(item.uri, item.name) for item in channel.objects] == [(f"{root}/m/d/a.txt", below)]


def test_what_is_in_s3_never_names_a_file_of_this_machine(bucket: Any, s3: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = bucket("plain", json.dumps([{"prefix": file_uri(tmp_path)}, "secret"]).encode())
    bucket("augmented", json.dumps({"a-ref": file_uri(tmp_path / "secret")}).encode())
    with pytest.raises(BadRequest, match=r"The manifest s3://.*/plain names a file of this machine\. Received: file:"):
        find_channels(described(f"{root}/plain", S3DataType="ManifestFile"), s3)
    augmented = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["a-ref"]}
    with pytest.raises(BadRequest, match=r"a-ref in line 1 of s3://.* names a file of this machine\. Received: file:"):
        find_channels(described(f"{root}/augmented", **augmented), s3)


def test_a_local_manifest_may_name_objects_of_s3(bucket: Any, s3: ObjectStore, tmp_path: Path) -> None:
    root = bucket("d/a", b"content")
    (tmp_path / "m").write_text(json.dumps([{"prefix": f"{root}/d/"}, "a"]))
    (channel,) = find_channels(described(file_uri(tmp_path / "m"), S3DataType="ManifestFile"), s3)
    assert [item.uri for item in channel.objects] == [f"{root}/d/a"]
