"""What a test needs and this machine lacks."""

import os
from typing import NoReturn

import pytest


def missing(what: str, required: str = "REQUIRE_DOCKER") -> NoReturn:
    """Skip, or fail where the environment says by `required` that it must be there."""
    if os.environ.get(required):
        pytest.fail(what)
    pytest.skip(what)
