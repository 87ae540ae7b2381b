"""The platform's part, as for the training program's tests."""

from tests.train.conftest import feed, shards, start

__all__ = ["feed", "shards", "start"]
