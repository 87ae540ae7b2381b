"""A host's shard of a channel's records, so that all hosts together see each record once.

A FullyReplicated channel gives every record to every host. The hosts shuffle alike, into batches of the size of all of
theirs together, and each takes its rows: the global batches are those of a single host. A ShardedByS3Key channel gives
each host its own objects, which are used as they are.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from train.errors import NoRecordsError
from train.input_pipeline.batch_ring import Batch
from train.runtime.environment import Channel


@dataclass(frozen=True)
class HostShard:
    """The shard of host `index`, from 0, of `count` hosts."""

    index: int = 0
    count: int = 1
    pre_sharded: bool = False  # the platform gives each host its own objects

    @property
    def parts(self) -> int:
        """Number of parts into which a batch is cut, one of them this host's."""
        return 1 if self.pre_sharded else self.count

    @property
    def seed(self) -> tuple[int, ...]:
        """An addition to the shuffle's seed; empty where the hosts have to shuffle alike."""
        return (self.index,) if self.pre_sharded and self.count > 1 else ()

    def select(self, batches: Generator[Batch]) -> Generator[Batch]:
        """This host's rows of each batch: as many as any other host's, or one less, perhaps none.

        A pre-sharded channel may have no batches: with fewer objects than hosts, some hosts get none.
        """
        try:
            with closing(batches):
                for images, labels in batches:
                    part = row_slice(len(labels), 0 if self.pre_sharded else self.index, self.parts)
                    yield images[part], labels[part]
        except NoRecordsError:
            if not (self.pre_sharded and self.count > 1):
                raise


SINGLE_HOST = HostShard()


def host_shard(channel: Channel, index: int, count: int) -> HostShard:
    """The shard that the channel's S3DataDistributionType means."""
    return HostShard(index, count, channel.sharded)


def row_slice(count: int, index: int, parts: int) -> slice:
    """Part `index` of `count` rows, cut into `parts` whose sizes differ by one at most."""
    return slice(count * index // parts, count * (index + 1) // parts)
