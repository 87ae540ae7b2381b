"""What a test needs and this machine lacks."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip; fail where the variable REQUIRE_ALL says that the machine has everything, as in CI."""
    if os.environ.get("REQUIRE_ALL"):
        pytest.fail(what)
    pytest.skip(what)
