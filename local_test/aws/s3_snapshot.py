"""Keeps what S3 holds on disk, from a server's orderly end to the next start.

Objects with content type and metadata; not the versions, policies and other settings of buckets.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_test.errors import DataError
from local_test.util.atomic_files import write_json

_INDEX = "index.json"
_HOME = "us-east-1"  # the one region that a bucket's location does not name


def save(s3: Any, folder: Path) -> int:
    """Writes everything in S3 to the folder and replaces what it held, whole or not at all; the number of objects."""
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        buckets = [_save_bucket(s3, item["Name"], fresh) for item in s3.list_buckets()["Buckets"]]
    except (BotoCoreError, ClientError, OSError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise DataError(f"S3 could not be kept: {error}") from None
    write_json(fresh / _INDEX, buckets)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return sum(len(bucket["Objects"]) for bucket in buckets)


def _save_bucket(s3: Any, name: str, folder: Path) -> dict[str, Any]:
    (folder / name).mkdir()
    region = s3.get_bucket_location(Bucket=name)["LocationConstraint"] or _HOME
    objects = [_save_object(s3, name, key, folder / name / str(n)) for n, key in enumerate(_keys(s3, name))]
    return {"Name": name, "Region": region, "Objects": objects}


def _keys(s3: Any, bucket: str) -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (item["Key"] for item in page.get("Contents", []))


def _save_object(s3: Any, bucket: str, key: str, path: Path) -> dict[str, Any]:
    head = s3.head_object(Bucket=bucket, Key=key)
    s3.download_file(bucket, key, str(path))
    return {"Key": key, "File": path.name, "ContentType": head["ContentType"], "Metadata": head["Metadata"]}


def load(s3: Any, folder: Path) -> int:
    """Uploads a saved folder into an empty S3; the number of objects."""
    index = folder / _INDEX
    if not index.exists():
        return 0
    buckets = json.loads(index.read_text())
    try:
        for bucket in buckets:
            _load_bucket(s3, bucket, folder / bucket["Name"])
    except (BotoCoreError, ClientError, OSError) as error:
        raise DataError(
            f"What S3 held can't be read again: {error}. Received: {folder}. Take it away to go on"
        ) from None
    return sum(len(bucket["Objects"]) for bucket in buckets)


def _load_bucket(s3: Any, bucket: dict[str, Any], folder: Path) -> None:
    region = bucket["Region"]
    place = {} if region == _HOME else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket["Name"], **place)
    for item in bucket["Objects"]:
        extra = {"ContentType": item["ContentType"], "Metadata": item["Metadata"]}
        s3.upload_file(str(folder / item["File"]), bucket["Name"], item["Key"], ExtraArgs=extra)
