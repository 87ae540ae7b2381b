"""What S3 holds, on disk between an orderly end and the next start.

Objects with their content type and metadata; versions, policies and other settings of buckets are not kept.
"""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local_test.errors import DataError
from local_test.util.arns import DEFAULT_REGION
from local_test.util.atomic_files import write_json
from local_test.util.console import warn_on_stderr

_INDEX = "index.json"
_OBJECTS = "objects"  # a folder of files with numbers: no name of a bucket or an object becomes a path


class Store(Protocol):
    """What is kept: in_process_s3.InProcessS3. No policy and no storage class stands between it and its objects.

    `objects`: (key, content type, metadata, version) each. Equal versions mean equal contents; empty: nobody knows.
    """

    def buckets(self) -> list[tuple[str, str]]: ...

    def objects(self, bucket: str) -> list[tuple[str, str, dict[str, str], str]]: ...

    def chunks(self, bucket: str, key: str) -> Iterator[bytes] | None: ...


def save(store: Store, folder: Path, warn: Callable[[str], object] = warn_on_stderr) -> int:
    """Everything in S3 into the folder, in the place of what it held; the number of objects.

    An object that can't be read is left out, and `warn` is told. DataError, and the folder as it was, if the disk
    refuses.
    """
    fresh, old = _beside(folder, "new"), _beside(folder, "old")
    _recover(folder)
    try:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
        (fresh / _OBJECTS).mkdir(parents=True)
        count = _write(store, fresh, _read_versions(folder), warn)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        _recover(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise DataError(f"S3 could not be kept: {error}") from None
    shutil.rmtree(old, ignore_errors=True)
    return count


def load(s3: Any, folder: Path, warn: Callable[[str], object] = warn_on_stderr) -> int:
    """Everything that was saved into an empty S3; the number of objects.

    A damaged index is put aside, and an object that is not there any more is left out; `warn` is told.
    """
    _recover(folder)
    if not (folder / _INDEX).exists():
        return 0
    try:
        buckets = json.loads((folder / _INDEX).read_text())
        return sum(_load_bucket(s3, bucket, folder, warn) for bucket in buckets)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BotoCoreError, ClientError) as error:
        places = (_beside(folder, f"damaged-{number}" if number else "damaged") for number in itertools.count())
        aside = next(place for place in places if not place.exists())
        folder.rename(aside)
        warn(f"what S3 held can't be read again: {error}. It is kept in {aside}")
        return 0


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _recover(folder: Path) -> None:
    """A save that was killed between its two last steps has left what was there before under another name."""
    if not folder.exists() and (old := _beside(folder, "old")).exists():
        old.rename(folder)


def _write(store: Store, folder: Path, kept_before: Mapping[str, Path], warn: Callable[[str], object]) -> int:
    buckets, count = [], 0
    for name, region in store.buckets():
        kept = []
        for key, content_type, metadata, version in store.objects(name):
            file = f"{_OBJECTS}/{count}"
            if not _link(kept_before.get(version), folder / file):
                chunks = store.chunks(name, key)
                if chunks is None:
                    warn(f"an object can't be read, so it is not kept. Received: s3://{name}/{key}")
                    continue
                with (folder / file).open("wb") as target:
                    target.writelines(chunks)
            item = {"Key": key, "File": file, "ContentType": content_type, "Metadata": metadata, "Version": version}
            kept.append(item)
            count += 1
        buckets.append({"Name": name, "Region": region, "Objects": kept})
    write_json(folder / _INDEX, buckets)
    return count


def _link(before: Path | None, file: Path) -> bool:
    """Whether the file is a second name of what an earlier save has written: what has not changed is not copied."""
    with suppress(OSError):  # it is gone, or the disk knows no links
        if before:
            file.hardlink_to(before)
            return True
    return False


def _read_versions(folder: Path) -> dict[str, Path]:
    """What the last save has written, by the version of its content."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        buckets = json.loads((folder / _INDEX).read_text())
        items = [(bucket["Name"], item) for bucket in buckets for item in bucket["Objects"]]
        return {item["Version"]: _find(folder, bucket, item["File"]) for bucket, item in items if item.get("Version")}
    return {}


def _load_bucket(s3: Any, bucket: dict[str, Any], folder: Path, warn: Callable[[str], object]) -> int:
    region, name, count = bucket["Region"], bucket["Name"], 0
    place = {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **place)
    for item in bucket["Objects"]:
        extra = {"ContentType": item["ContentType"], "Metadata": item["Metadata"]}
        try:
            s3.upload_file(str(_find(folder, name, item["File"])), name, item["Key"], ExtraArgs=extra)
            count += 1
        except (BotoCoreError, ClientError, OSError, ValueError) as error:
            warn(f"an object that S3 held can't be read again: {error}. Received: s3://{name}/{item['Key']}")
    return count


def _find(folder: Path, bucket: str, file: str) -> Path:
    """An earlier version had a folder for each bucket. ValueError for what is not in the folder: a root may come from
    somebody else, and what S3 holds is read by jobs."""
    path = folder / file if file.startswith(f"{_OBJECTS}/") else folder / bucket / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} leads out of {folder}")
    return path
