"""A host's part of a channel's records, so that all hosts together see each record once.

A FullyReplicated channel brings every record to every host. The hosts shuffle alike, into batches of the size of all of
theirs together, and each takes its rows: the global batches are those of one host. A ShardedByS3Key channel brings each
host its own objects, to be used as they come.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from train.errors import NoRecordsError
from train.input_pipeline.shuffle import Piece
from train.runtime.environment import Channel


@dataclass(frozen=True)
class Share:
    """The part of host `index`, from 0, of `count`."""

    index: int = 0
    count: int = 1
    dealt: bool = False  # the platform has: every host gets what is its own

    @property
    def parts(self) -> int:
        """In how many parts this host's share of a batch is to be cut out."""
        return 1 if self.dealt else self.count

    @property
    def seed(self) -> tuple[int, ...]:
        """What the shuffling's seed needs besides: nothing where the hosts are to shuffle alike."""
        return (self.index,) if self.dealt and self.count > 1 else ()

    def of(self, batches: Generator[Piece]) -> Iterator[Piece]:
        """This host's rows of each batch: nearly as many as any other's, perhaps none. Batches dealt may be none."""
        try:
            with closing(batches):
                for images, labels in batches:
                    part = rows(len(labels), 0 if self.dealt else self.index, self.parts)
                    yield images[part], labels[part]
        except NoRecordsError:
            if not (self.dealt and self.count > 1):  # with fewer objects than hosts, some get none
                raise


WHOLE = Share()


def share(channel: Channel, index: int, count: int) -> Share:
    """As S3DataDistributionType says."""
    return Share(index, count, channel.sharded)


def rows(count: int, index: int, parts: int) -> slice:
    """The part `index` of `count` rows, cut into `parts` that differ by one at most."""
    return slice(count * index // parts, count * (index + 1) // parts)
