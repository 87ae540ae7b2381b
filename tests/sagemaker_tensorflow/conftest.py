"""The platform's part, as for the training program's tests."""

from tests.train.conftest import feed, shards
from tests.train.trainer.test_job import start

__all__ = ["feed", "shards", "start"]
