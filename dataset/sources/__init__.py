"""Where examples come from. A source knows all labels at once and gives pictures in whatever order it is asked for.

So that examples can be dealt to shards first and pictures be decoded shard by shard: memory holds labels, not pictures.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Source(Protocol):
    """image_shape: height, width, channels. labels[split][i] is the class number of example i."""

    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]

    @property
    def labels(self) -> Mapping[str, NDArray[np.int64]]: ...

    def images(self, split: str, order: NDArray[np.int64]) -> Iterator[bytes]:
        """The pictures of the examples in `order`: raw uint8, height × width × channels bytes each, or files."""

    def drop_damaged(self) -> list[str]:
        """What is wrong with pictures that `images` gave as b"", a line each; from here on they are left out."""

    def description(self) -> dict[str, Any]:
        """`source` of dataset.json: kind, name, note (None, or a line worth reading). Final once all is read."""
