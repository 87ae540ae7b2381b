"""The tag that interrupts a job's spot instances: a number of seconds, checked before the job begins."""

from pathlib import Path

import pytest

from local_test.errors import BadRequest
from local_test.training.spot import TAG, seconds_from_tags
from tests.support.local_jobs import request_for


def tagged(value: str) -> float | None:
    tags = [{"Key": "other", "Value": "x"}, {"Key": TAG, "Value": value}]
    return seconds_from_tags(request_for("j", Path("/out"), EnableManagedSpotTraining=True, Tags=tags))


def test_a_number_of_seconds() -> None:
    assert tagged("0") == 0
    assert tagged("2.5") == 2.5
    assert seconds_from_tags(request_for("j", Path("/out"))) is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300", "-1", "2419201", "soon", ""])
def test_no_number_of_seconds(value: str) -> None:
    with pytest.raises(BadRequest, match=f"must be a number of seconds. Received: {value}. Expected: 0 to 2419200"):
        tagged(value)
