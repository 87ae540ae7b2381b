"""What S3 holds outlives an orderly end."""

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local_test.aws import s3_snapshot as snapshot
from local_test.errors import DataError
from tests.support.served import ROLE, Served, until

KEYS = {"a": b"", "a/b c": b"content" * 100_000, "ü/../x": b"odd"}


def test_buckets_and_objects_are_there_again(tmp_path: Path) -> None:
    for start in range(3):
        with Served(tmp_path) as served:
            s3 = served.client("s3")
            if start == 0:
                s3.create_bucket(Bucket="one-bucket")
                s3.create_bucket(Bucket="empty", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
                for key, body in KEYS.items():
                    s3.put_object(Bucket="one-bucket", Key=key, Body=body, ContentType="text/x", Metadata={"m": "1"})
            assert sorted(item["Name"] for item in s3.list_buckets()["Buckets"]) == ["empty", "one-bucket"]
            assert s3.get_bucket_location(Bucket="empty")["LocationConstraint"] == "eu-west-1"
            for key, body in KEYS.items():
                got = s3.get_object(Bucket="one-bucket", Key=key)
                assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (body, "text/x", {"m": "1"})
            assert s3.list_objects_v2(Bucket="one-bucket")["KeyCount"] == len(KEYS)
            assert "Traceback" not in served.end()


def test_who_comes_while_it_is_read_again_waits_and_loses_nothing(tmp_path: Path) -> None:
    """A pipeline's start keeps S3 on disk: the half that is there must not take the place of all."""
    definition = json.dumps({"Steps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]})
    keys = [f"{number:03}" for number in range(100)]
    with Served(tmp_path) as served:
        s3, sagemaker = served.client("s3"), served.client("sagemaker")
        s3.create_bucket(Bucket="one-bucket")
        for key in keys:
            s3.put_object(Bucket="one-bucket", Key=key, Body=b"old")
        sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=definition, RoleArn=ROLE)
        clients = [served.client(name) for name in ("s3", "sagemaker")]
        port = served.exports["AWS_ENDPOINT_URL"].rpartition(":")[2]
        assert "Traceback" not in served.end()

    def come(s3: Any, sagemaker: Any) -> None:
        until(lambda: _is_open(int(port)))
        sagemaker.start_pipeline_execution(PipelineName="p")
        s3.put_object(Bucket="one-bucket", Key=keys[-1], Body=b"new")

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come, *clients)
        with Served(tmp_path, "--port", port) as served:
            coming.result(60)
            served.end(signal.SIGTERM)
    with Served(tmp_path) as served:
        s3 = served.client("s3")
        found = [item["Key"] for item in s3.list_objects_v2(Bucket="one-bucket")["Contents"]]
        assert found == keys
        assert s3.get_object(Bucket="one-bucket", Key=keys[-1])["Body"].read() == b"new"
        assert "can't be read again" not in served.end()


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_what_s3_itself_would_not_give_is_kept_as_well(tmp_path: Path) -> None:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::one-bucket/*"]}
    for start in range(2):
        with Served(tmp_path) as served:
            s3 = served.client("s3")
            if start == 0:
                for name in ("one-bucket", "index.json", "objects"):
                    s3.create_bucket(Bucket=name)
                    s3.put_object(Bucket=name, Key="a", Body=name.encode(), StorageClass="GLACIER")
                s3.put_bucket_policy(Bucket="one-bucket", Policy=json.dumps({"Statement": [denied]}))
            else:
                for name in ("one-bucket", "index.json", "objects"):
                    assert s3.get_object(Bucket=name, Key="a")["Body"].read() == name.encode()
            assert "can't be" not in served.end()


class Objects:
    """A store of two objects, of which one can't be read."""

    def __init__(self, error: Exception | None = None, version: str = "") -> None:
        self.error, self.version = error, version

    def buckets(self) -> list[tuple[str, str]]:
        return [("b", "us-east-1")]

    def objects(self, bucket: str) -> list[tuple[str, str, dict[str, str], str]]:  # noqa: ARG002
        return [("gone", "x/y", {}, ""), ("a", "x/y", {}, self.version)]

    def chunks(self, bucket: str, key: str) -> Iterator[bytes] | None:  # noqa: ARG002
        if self.error:
            raise self.error
        return iter([b"content"]) if key == "a" else None


def test_an_object_that_cannot_be_read_does_not_take_the_others_along(tmp_path: Path) -> None:
    said: list[str] = []
    assert snapshot.save(Objects(), tmp_path / "s3", said.append) == 1
    assert said == ["an object can't be read, so it is not kept. Received: s3://b/gone"]
    assert (tmp_path / "s3/objects/0").read_bytes() == b"content"


def test_a_snapshot_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "s3"
    assert snapshot.save(Objects(), folder, lambda _: None) == 1
    with pytest.raises(DataError, match=r"S3 could not be kept: .*no space left"):
        snapshot.save(Objects(OSError("no space left")), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["s3"]
    assert (folder / "objects/0").read_bytes() == b"content"


def test_a_save_that_was_killed_between_its_last_steps_is_found_again(tmp_path: Path) -> None:
    snapshot.save(Objects(), tmp_path / "s3", lambda _: None)
    (tmp_path / "s3").rename(tmp_path / ".s3.old")
    (tmp_path / ".s3.new").mkdir()
    assert snapshot.save(Objects(), tmp_path / "s3", lambda _: None) == 1
    (tmp_path / "s3").rename(tmp_path / ".s3.old")
    with pytest.raises(AssertionError):
        snapshot.load(NoS3(), tmp_path / "s3")


class NoS3:
    """Fails at the first bucket."""

    def create_bucket(self, **members: str) -> None:
        raise AssertionError(members)


@pytest.mark.parametrize("index", ["", "{", '{"a": 1}', '[{"Name": 1}]', "7"])
def test_a_damaged_index_is_put_aside_and_the_server_starts(tmp_path: Path, index: str) -> None:
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3/index.json").write_text(index)
    said: list[str] = []
    assert snapshot.load(NoS3(), tmp_path / "s3", said.append) == 0
    assert len(said) == 1
    assert "what S3 held can't be read again" in said[0]
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3/index.json").write_text("another")
    assert snapshot.load(NoS3(), tmp_path / "s3", said.append) == 0
    kept = [(tmp_path / name / "index.json").read_text() for name in (".s3.damaged", ".s3.damaged-1")]
    assert kept == [index, "another"]


@pytest.mark.parametrize("file", ["objects/../../secret", "../../secret", "objects/link", "{folder}/secret"])
def test_a_root_of_somebody_elses_names_no_file_of_the_persons(tmp_path: Path, file: str) -> None:
    class Bucket:
        def create_bucket(self, **members: object) -> None: ...
        def upload_file(self, *arguments: object, **options: object) -> None:
            raise AssertionError(arguments, options)

    (tmp_path / "s3/objects").mkdir(parents=True)
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "s3/objects/link").symlink_to(tmp_path / "secret")
    item = {"Key": "k", "File": file.format(folder=tmp_path), "ContentType": "text/plain", "Metadata": {}}
    index = [{"Name": "bucket", "Region": "us-east-1", "Objects": [item]}]
    (tmp_path / "s3/index.json").write_text(json.dumps(index))
    said: list[str] = []
    assert snapshot.load(Bucket(), tmp_path / "s3", said.append) == 0
    assert len(said) == 1
    assert "leads out of" in said[0]


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    """It is the same file: a save costs what is new, however much S3 holds."""
    files = []
    for version in ("one", "one", "two", ""):
        snapshot.save(Objects(version=version), tmp_path / "s3", lambda _: None)
        files.append((tmp_path / "s3/objects/0").stat())
        assert (tmp_path / "s3/objects/0").read_bytes() == b"content"
    numbers = [file.st_ino for file in files]
    assert numbers[0] == numbers[1] != numbers[2]
    assert files[-1].st_nlink == 1
