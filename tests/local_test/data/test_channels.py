"""What each kind of channel gives to each host, from local folders; the same code reads S3."""

import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.data.channels import Channel, find_channels
from local_test.data.object_store import ObjectStore, StoredObject
from local_test.data.recordio import MAGIC, make_record, wrap_chunks
from local_test.errors import BadRequest, DataError
from local_test.util.atomic_files import file_uri
from tests.support.local_jobs import request_for


def records(data: bytes) -> Iterator[bytes]:
    """RecordIO as a reader takes it apart."""
    while data:
        magic, size = struct.unpack("<II", data[:8])
        assert (magic, size >> 29) == (MAGIC, 0)
        yield data[8 : 8 + size]
        assert data[8 + size : 8 + size + -size % 4] == bytes(-size % 4)
        data = data[8 + size + -size % 4 :]


def found(storage: ObjectStore, path: Path, source: dict[str, Any] | None = None, **members: Any) -> Channel:
    request = request_for("j", path, {"train": path})
    (channel,) = request["InputDataConfig"]
    channel.update(members)
    channel["DataSource"]["S3DataSource"].update(source or {})
    return find_channels(request, storage)[0]


def given_by(channel: Channel, storage: ObjectStore, epoch: int = 0) -> bytes:
    parts = [
        part.read_bytes() if isinstance(part, Path) else b"".join(part) for part in channel.contents(epoch, storage)
    ]
    return b"".join(parts)


@given(st.lists(st.binary(max_size=100)))
def test_a_record_comes_back_whole(values: list[bytes]) -> None:
    assert list(records(b"".join(make_record(value) for value in values))) == values


def test_a_magic_number_in_the_data_is_data() -> None:
    data = struct.pack("<III", MAGIC, 7, MAGIC)
    assert list(records(make_record(data))) == [data]


def test_a_record_of_the_wrong_size() -> None:
    with pytest.raises(DataError, match="x changed since the job was created: 2 bytes then, 3 now"):
        b"".join(wrap_chunks(iter([b"abc"]), 2, "x"))
    with pytest.raises(DataError, match=r"too large for a RecordIO record\. Received: 536870912 bytes"):
        wrap_chunks(iter([]), 1 << 29, "x")


def test_each_object_is_one_record(data: Path, storage: ObjectStore) -> None:
    channel = found(storage, data, RecordWrapperType="RecordIO")
    assert list(records(given_by(channel, storage))) == [b"1" * 10, b"0" * 10, b"2" * 10]


def test_an_unpacked_object_is_one_record(tmp_path: Path, storage: ObjectStore) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"content" * 1000))
    channel = found(storage, tmp_path / "a.gz", RecordWrapperType="RecordIO", CompressionType="Gzip")
    assert list(records(given_by(channel, storage))) == [b"content" * 1000]


@given(objects=st.integers(0, 20), hosts=st.integers(1, 8), seed=st.none() | st.integers(0, 3), epoch=st.integers(0, 2))
def test_every_object_goes_to_one_host(objects: int, hosts: int, seed: int | None, epoch: int) -> None:
    stored = tuple(StoredObject(f"s3://b/{n}", str(n), 1) for n in range(objects))
    channel = Channel("c", "Pipe", "s3://b/", stored, "ShardedByS3Key", shuffle_seed=seed)
    parts = [channel.for_host(index, hosts).order(epoch) for index in range(hosts)]
    assert sorted(item.name for part in parts for item in part) == sorted(item.name for item in stored)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    replicated = Channel("c", "Pipe", "s3://b/", stored, shuffle_seed=seed).for_host(0, hosts)
    assert len(replicated.order(epoch)) == objects


@pytest.mark.no_cover
def test_10000_objects_and_64_hosts() -> None:
    stored = tuple(StoredObject(f"s3://b/{n}", str(n), 1) for n in range(10_000))
    channel = Channel("c", "Pipe", "s3://b/", stored, "ShardedByS3Key", shuffle_seed=1)
    for epoch in range(2):
        read = [item for host in range(64) for item in channel.for_host(host, 64).order(epoch)]
        assert sorted(read, key=lambda item: item.uri) == sorted(stored, key=lambda item: item.uri)


def test_a_manifest_names_objects_in_its_order(data: Path, tmp_path: Path, storage: ObjectStore) -> None:
    manifest = tmp_path / "list.manifest"
    manifest.write_text(json.dumps([{"prefix": file_uri(data)}, "c", "a"]))
    channel = found(storage, manifest, {"S3DataType": "ManifestFile"})
    assert given_by(channel, storage) == b"2" * 10 + b"1" * 10
    assert [item.name for item in channel.local_objects] == ["c", "a"]
    (data / "d e").mkdir()
    (data / "d e/f%20g").write_bytes(b"3")
    manifest.write_text(json.dumps([{"prefix": f"{file_uri(data)}/"}, "d e/f%20g"]))
    channel = found(storage, manifest, {"S3DataType": "ManifestFile"})
    assert given_by(channel, storage) == b"3"
    assert [item.name for item in channel.local_objects] == ["d e/f%20g"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "The manifest is not JSON"),
        ("{}", "A manifest must be"),
        ("[]", "A manifest must be"),
        ('[{"prefix": "@"}]', "A manifest must be"),
        ('[{"prefix": "@"}, 1]', "A manifest must be"),
        ('[{"prefix": "@"}, "none"]', "names an object that does not exist. Received: .*/none"),
        ('[{"prefix": "@"}, "../secret"]', r"names an object that does not exist. Received: .*/\.\./secret"),
        ('[{"prefix": "/etc/"}, "passwd"]', "not a URI of objects. Received: /etc/"),
    ],
)
def test_a_manifest_that_is_none(data: Path, tmp_path: Path, storage: ObjectStore, text: str, message: str) -> None:
    (tmp_path / "m").write_text(text.replace("@", file_uri(data)))
    with pytest.raises(BadRequest, match=message):
        found(storage, tmp_path / "m", {"S3DataType": "ManifestFile"})


AUGMENTED = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["image-ref", "label"]}


def test_an_augmented_manifest_gives_a_record_an_attribute(data: Path, tmp_path: Path, storage: ObjectStore) -> None:
    lines = [
        {"label": 1, "image-ref": file_uri(data / "b"), "more": 0},
        {"image-ref": file_uri(data / "a"), "label": "x"},
    ]
    (tmp_path / "m").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    channel = found(storage, tmp_path / "m", AUGMENTED, RecordWrapperType="RecordIO", ShuffleConfig={"Seed": 5})
    orders = set()
    for epoch in range(20):
        first, label, second, other = records(given_by(channel, storage, epoch))
        assert {(first, label), (second, other)} == {(b"0" * 10, b"1"), (b"1" * 10, b"x")}
        orders.add(label)
    assert orders == {b"1", b"x"}  # lines change places, attributes stay together
    sharded = found(
        storage,
        tmp_path / "m",
        {**AUGMENTED, "S3DataDistributionType": "ShardedByS3Key"},
        RecordWrapperType="RecordIO",
    )
    assert list(records(given_by(sharded.for_host(1, 2), storage))) == [b"1" * 10, b"x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Not JSON: .* Received: line 1 of file:"),
        ('{"label": 1}', "There is no attribute image-ref in line 1 of"),
        ("[]", "There is no attribute image-ref in line 1 of"),
        ('{"image-ref": 3, "label": 1}', "image-ref must be an S3 URI in line 1"),
        ('{"image-ref": "/etc/passwd", "label": 1}', "not a URI of objects. Received: /etc/passwd"),
    ],
)
def test_an_augmented_manifest_that_is_none(tmp_path: Path, storage: ObjectStore, text: str, message: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(BadRequest, match=message):
        found(storage, tmp_path / "m", AUGMENTED, RecordWrapperType="RecordIO")


@pytest.mark.parametrize(
    ("source", "members", "message"),
    [
        ({}, {"RecordWrapperType": "RecordIO", "InputMode": "File"}, "RecordIO needs input mode Pipe. Received: File"),
        ({}, {"CompressionType": "Gzip", "InputMode": "File"}, "Gzip needs input mode Pipe. Received: File"),
        ({"S3DataType": "ManifestFile"}, {"InputMode": "FastFile"}, "FastFile needs S3DataType S3Prefix"),
        (AUGMENTED, {"InputMode": "File", "RecordWrapperType": "None"}, "AugmentedManifestFile needs input mode Pipe"),
        (AUGMENTED, {}, "AugmentedManifestFile needs RecordWrapperType RecordIO. Received: None"),
        ({"AttributeNames": ["a"]}, {}, "AttributeNames needs S3DataType AugmentedManifestFile. Received: S3Prefix"),
        ({"S3DataType": "AugmentedManifestFile"}, {"RecordWrapperType": "RecordIO"}, "needs AttributeNames"),
    ],
)
def test_what_does_not_go_together(
    data: Path, storage: ObjectStore, source: dict[str, Any], members: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        found(storage, data, source, **members)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 objects; each holds its number in five digits."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(10_000):
        (folder / f"{number:05d}").write_bytes(b"%05d" % number)
    return folder


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.no_cover
def test_64_hosts_read_each_of_10_000_objects_once(many: Path, storage: ObjectStore, shuffled: bool) -> None:
    members = {"ShuffleConfig": {"Seed": 3}} if shuffled else {}
    channel = found(storage, many, {"S3DataDistributionType": "ShardedByS3Key"}, **members)
    shares = []
    for epoch in range(2):
        parts = [given_by(channel.for_host(host, 64), storage, epoch) for host in range(64)]
        numbers = [int(part[place : place + 5]) for part in parts for place in range(0, len(part), 5)]
        assert sorted(numbers) == list(range(10_000))
        assert {len(part) // 5 for part in parts} == {156, 157}
        shares.append(parts)
    assert (shares[0] == shares[1]) != shuffled


@given(st.integers(0, 300), st.integers(1, 70), st.integers(0, 5), st.none() | st.integers(0, 9))
def test_any_number_of_hosts_shares_out_any_number_of_objects(
    objects: int, hosts: int, epoch: int, seed: int | None
) -> None:
    items = tuple(StoredObject(f"file:///{number}", str(number), 1) for number in range(objects))
    channel = Channel("c", "Pipe", "file:///", items, "ShardedByS3Key", shuffle_seed=seed)
    shares = [channel.for_host(host, hosts).order(epoch) for host in range(hosts)]
    assert sorted(item.uri for share in shares for item in share) == sorted(item.uri for item in items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
