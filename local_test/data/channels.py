"""A channel's objects for a host and an epoch: prefix, manifest, augmented manifest, shard, shuffle, gzip, RecordIO."""

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from local_test.data.manifests import Line, manifest_lines, manifest_objects
from local_test.data.object_store import CHUNK_BYTES, ObjectStore, StoredObject, join_chunks
from local_test.data.recordio import make_record, wrap_chunks
from local_test.errors import BadRequest, DataError

_GZIP = 31  # zlib's wbits for a gzip header and trailer

T = TypeVar("T")
Content = Path | Iterator[bytes]  # of one object: a local file as it is, or bytes as they stream


@dataclass(frozen=True)
class Channel:
    """One entry of InputDataConfig with the service's defaults filled in and its objects found.

    `objects` are those of all hosts. An augmented manifest has `lines` instead: each a mapping of its attributes.
    `shard` is (index, number of hosts) where each host gets a part.
    """

    name: str
    mode: str  # Pipe, File or FastFile: its own InputMode, or the job's
    uri: str
    objects: tuple[StoredObject, ...]
    distribution: str = "FullyReplicated"
    record_wrapper: str = "None"
    compression: str = "None"
    content_type: str | None = None
    shuffle_seed: int | None = None
    data_type: str = "S3Prefix"
    attributes: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    shard: tuple[int, int] = (0, 1)

    @property
    def size(self) -> int:
        """Bytes of an epoch as they are stored."""
        return sum(item.size for item in self.local_objects)

    @property
    def local_objects(self) -> Sequence[StoredObject]:
        """The objects of this host, in the order of keys."""
        return self.objects[self.shard[0] :: self.shard[1]]

    def for_host(self, index: int, count: int) -> "Channel":
        """As that host of `count` sees it: ShardedByS3Key deals the objects out, about 1/count to each."""
        return replace(self, shard=(index, count)) if self.distribution == "ShardedByS3Key" else self

    def order(self, epoch: int) -> list[StoredObject]:
        """The objects as epoch n (from 0) takes them."""
        return self._order(self.objects, epoch)

    def _order(self, items: Sequence[T], epoch: int) -> list[T]:
        """ShuffleConfig re-orders objects, never records within one, and with ShardedByS3Key deals them anew: all hosts
        have the same seed, so that each object is read once."""
        items = list(items)
        if self.shuffle_seed is not None:
            random.Random(f"{self.shuffle_seed}-{epoch}").shuffle(items)  # noqa: S311 - an order, not a secret
        return items[self.shard[0] :: self.shard[1]]

    def contents(self, epoch: int, storage: ObjectStore) -> Iterator[Content]:
        """What a FIFO gives for epoch n: each object's content, to be concatenated without boundaries."""
        for line in self._order(self.lines, epoch):
            for attribute in self.attributes:
                yield iter([make_record(line.content(attribute, storage))])
        for item in self.order(epoch):
            yield self._content(item, storage)

    def _content(self, item: StoredObject, storage: ObjectStore) -> Content:
        if self.compression == "Gzip":
            chunks = _gunzip(storage.chunks(item), item.uri)
            # its length stands before a record, and is not known before all of it is there
            return (
                iter([make_record(join_chunks(chunks, item.uri), item.uri)])
                if self.record_wrapper == "RecordIO"
                else chunks
            )
        if self.record_wrapper == "RecordIO":
            return wrap_chunks(storage.chunks(item), item.size, item.uri)
        return item.path or storage.chunks(item)


def find_channels(request: Mapping[str, Any], storage: ObjectStore) -> list[Channel]:
    """The channels of a valid request; BadRequest for one without objects, a mode that can't be."""
    mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    return [_channel(item, mode, request.get("RoleArn", ""), storage) for item in request.get("InputDataConfig", [])]


def _channel(given: Mapping[str, Any], job_mode: str, role: str, storage: ObjectStore) -> Channel:
    source, name = given["DataSource"].get("S3DataSource"), given["ChannelName"]
    if source is None:
        raise BadRequest(f"Channel {name} has no S3DataSource. Received: {dict(given['DataSource'])}")
    channel = Channel(
        name=name,
        mode=given.get("InputMode", job_mode),
        uri=source["S3Uri"],
        objects=tuple(find_objects(source["S3Uri"], role, storage)),
        data_type=source["S3DataType"],
        attributes=tuple(source.get("AttributeNames", ())),
        distribution=source.get("S3DataDistributionType", "FullyReplicated"),
        record_wrapper=given.get("RecordWrapperType", "None"),
        compression=given.get("CompressionType", "None"),
        content_type=given.get("ContentType"),
        shuffle_seed=given.get("ShuffleConfig", {}).get("Seed"),
    )
    _check_modes(channel)
    if channel.data_type == "ManifestFile":
        return replace(channel, objects=tuple(manifest_objects(channel.uri, storage)))
    if channel.data_type == "AugmentedManifestFile":
        return replace(channel, objects=(), lines=tuple(manifest_lines(channel.uri, channel.attributes, storage)))
    return channel


def _check_modes(channel: Channel) -> None:
    """What the service allows together."""

    def need(member: str, needed: str, received: str) -> None:
        if received != needed.rpartition(" ")[2]:
            raise BadRequest(f"Channel {channel.name}: {member} needs {needed}. Received: {received}")

    if channel.compression == "Gzip":
        need("CompressionType Gzip", "input mode Pipe", channel.mode)
    if channel.record_wrapper == "RecordIO":
        need("RecordWrapperType RecordIO", "input mode Pipe", channel.mode)
    if channel.mode == "FastFile":
        need("input mode FastFile", "S3DataType S3Prefix", channel.data_type)
    if channel.data_type == "AugmentedManifestFile":
        need("S3DataType AugmentedManifestFile", "input mode Pipe", channel.mode)
        need("S3DataType AugmentedManifestFile", "RecordWrapperType RecordIO", channel.record_wrapper)
        need("S3DataType AugmentedManifestFile", "CompressionType None", channel.compression)
    if channel.attributes or channel.data_type == "AugmentedManifestFile":
        need("AttributeNames", "S3DataType AugmentedManifestFile", channel.data_type)
        if not channel.attributes:
            raise BadRequest(f"Channel {channel.name}: S3DataType AugmentedManifestFile needs AttributeNames")


def find_objects(uri: str, role: str, storage: ObjectStore) -> Sequence[StoredObject]:
    """Everything under the URI. BadRequest if there is nothing, in the service's words."""
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
