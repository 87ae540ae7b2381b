"""What S3 holds outlives an orderly end."""

from pathlib import Path
from typing import Any

import pytest

from local_test.aws import s3_snapshot as snapshot
from local_test.errors import DataError
from tests.support.served import Served

pytestmark = pytest.mark.timeout(60)
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


def test_a_snapshot_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    class Broken:
        def list_buckets(self) -> Any:
            raise OSError("no space left")

    folder = tmp_path / "s3"
    folder.mkdir()
    (folder / "index.json").write_text("[]")
    with pytest.raises(DataError, match="S3 could not be kept: no space left"):
        snapshot.save(Broken(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["s3"]
    assert snapshot.load(Broken(), folder) == 0
