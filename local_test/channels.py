"""A channel's objects for an epoch: prefix, shuffle, gzip."""

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, DataError
from local_test.storage import CHUNK_BYTES, Storage, StoredObject

_GZIP = 31  # zlib's wbits for a gzip header and trailer

Content = Path | Iterator[bytes]  # of one object: a local file as it is, or bytes as they stream


@dataclass(frozen=True)
class Channel:
    """One entry of InputDataConfig with the service's defaults filled in and its objects found."""

    name: str
    mode: str  # Pipe, File or FastFile: its own InputMode, or the job's
    uri: str
    objects: tuple[StoredObject, ...]
    distribution: str = "FullyReplicated"
    record_wrapper: str = "None"
    compression: str = "None"
    content_type: str | None = None
    shuffle_seed: int | None = None

    @property
    def size(self) -> int:
        """Bytes of an epoch as they are stored."""
        return sum(item.size for item in self.objects)

    def order(self, epoch: int) -> list[StoredObject]:
        """The objects as epoch n (from 0) takes them. ShuffleConfig re-orders objects, never records within one."""
        items = list(self.objects)
        if self.shuffle_seed is not None:
            random.Random(f"{self.shuffle_seed}-{epoch}").shuffle(items)  # noqa: S311 - an order, not a secret
        return items

    def contents(self, epoch: int, storage: Storage) -> Iterator[Content]:
        """What a FIFO gives for epoch n: each object's content, to be concatenated without boundaries."""
        for item in self.order(epoch):
            if self.compression == "Gzip":
                yield _gunzip(storage.chunks(item), item.uri)
            else:
                yield item.path or storage.chunks(item)


def find_channels(request: Mapping[str, Any], storage: Storage) -> list[Channel]:
    """The channels of a valid request; BadRequest for one without objects, a name given twice, a mode that can't be."""
    given = request.get("InputDataConfig", [])
    names = [channel["ChannelName"] for channel in given]
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"Channel names must be unique. Received: {name} {names.count(name)} times")
    mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    return [_channel(channel, mode, request.get("RoleArn", ""), storage) for channel in given]


def _channel(given: Mapping[str, Any], job_mode: str, role: str, storage: Storage) -> Channel:
    source, name = given["DataSource"].get("S3DataSource"), given["ChannelName"]
    if source is None:
        raise BadRequest(f"Channel {name} has no S3DataSource. Received: {dict(given['DataSource'])}")
    channel = Channel(
        name=name,
        mode=given.get("InputMode", job_mode),
        uri=source["S3Uri"],
        objects=tuple(_objects(source["S3Uri"], role, storage)),
        distribution=source.get("S3DataDistributionType", "FullyReplicated"),
        record_wrapper=given.get("RecordWrapperType", "None"),
        compression=given.get("CompressionType", "None"),
        content_type=given.get("ContentType"),
        shuffle_seed=given.get("ShuffleConfig", {}).get("Seed"),
    )
    if channel.compression == "Gzip" and channel.mode != "Pipe":
        raise BadRequest(f"Channel {name}: CompressionType Gzip needs input mode Pipe. Received: {channel.mode}")
    return channel


def _objects(uri: str, role: str, storage: Storage) -> Sequence[StoredObject]:
    try:
        objects = storage.objects(uri)
        reason = ""
    except (DataError, OSError) as error:
        objects, reason = [], f" Error message from S3: {error}"
    if not objects:
        raise BadRequest(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            "exists in the selected region, that objects exist under that S3 prefix, "
            f'and that the role "{role}" has "s3:ListBucket" permissions on the bucket.{reason}'
        )
    return objects


def _gunzip(chunks: Iterator[bytes], uri: str) -> Iterator[bytes]:
    """Decompressed as it streams, at most CHUNK_BYTES at a time; concatenated gzip members follow one another."""
    inflate = zlib.decompressobj(wbits=_GZIP)
    try:
        for data in chunks:
            while data:
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=_GZIP)
                yield inflate.decompress(data, CHUNK_BYTES)
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        yield inflate.flush()
    except zlib.error as error:
        raise DataError(f"{uri} is not gzip, though its channel says CompressionType Gzip: {error}") from None
    if not inflate.eof:
        raise DataError(f"{uri} is truncated: its gzip stream does not end")
