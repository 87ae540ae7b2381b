"""CreateProcessingJob requests: whatever is wrong is refused, and no folder of an accepted one leaves its place."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.hosts.host import make_paths
from local_test.processing.config import config_files
from local_test.processing.host import make_processing_spec
from local_test.request.processing import check_processing_request, local_folders, processing_normal_form
from tests.support.pipelines import changed
from tests.support.processing import processing_request, s3_input

REQUEST = processing_request(
    "job", "s3://b/code/script.py", {"data": "s3://b/data"}, {"out": "EndOfJob", "soon": "Continuous"},
    Environment={"A": "b"}, Tags=[{"Key": "a", "Value": "b"}],
)  # fmt: skip
_ROOT = PurePosixPath("/opt/ml/processing")


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Of every item in it."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        place = f"{at}.{key}" if at else str(key)
        yield place
        yield from paths(item, place)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner))
_FOLDERS = st.lists(st.sampled_from(["/", "..", ".", "opt", "ml", "processing", "a", "\n", "\0"]), max_size=9)


@given(st.sampled_from(sorted(paths(REQUEST))), _VALUES | st.just(...))
def test_nothing_but_bad_request_comes_of_a_change(path: str, new: Any) -> None:
    request = changed(REQUEST, path, new)
    try:
        check_processing_request(request)
        normal = processing_normal_form(request)
    except BadRequest:
        return
    (host,) = make_paths(normal["ProcessingResources"]["ClusterConfig"]["InstanceCount"], Path("/jobs/job"))[:1]
    make_processing_spec(normal, host, {})
    json.dumps(config_files(host, normal, "arn"))


@given(_FOLDERS.map("/".join))
@example("/opt/ml/processing/a")
@example("//opt/ml/processing/a")
@example("/opt/ml/processing/a/../../model")
@example("/opt/ml/processing/../../../etc")
def test_a_local_path_stays_below_its_root(path: str) -> None:
    request = {**REQUEST, "ProcessingInputs": [s3_input("data", "s3://b/data", LocalPath=path)]}
    try:
        check_processing_request(request)
    except BadRequest:
        return
    (folder, *_) = local_folders(request)
    assert ".." not in PurePosixPath(folder).parts
    assert PurePosixPath("/opt/ml", folder).is_relative_to(_ROOT)
    assert PurePosixPath("/opt/ml", folder) != _ROOT


@pytest.mark.parametrize("path", ["/opt/ml/processing/a", "/opt/ml/processing/a/", "/opt/ml/processing//a/./"])
def test_one_folder_has_one_name(path: str) -> None:
    inputs = [
        s3_input("one", "s3://b/x", LocalPath="/opt/ml/processing/a"),
        s3_input("two", "s3://b/y", LocalPath=path),
    ]
    with pytest.raises(BadRequest, match=r"Input 'two': Input 'one' has its LocalPath, too"):
        check_processing_request({**REQUEST, "ProcessingInputs": inputs})


def test_what_is_ignored_is_listed() -> None:
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    request = {**REQUEST, "NetworkConfig": {"VpcConfig": vpc, "EnableInterContainerTrafficEncryption": False}}
    assert check_processing_request(request) == [
        "NetworkConfig.VpcConfig",
        "ProcessingResources.ClusterConfig.VolumeSizeInGB",
    ]


def test_addresses_have_one_form() -> None:
    request = changed(REQUEST, "ProcessingInputs.1.S3Input.S3Uri", "https://b.s3.us-east-1.amazonaws.com/data/x")
    assert processing_normal_form(request)["ProcessingInputs"][1]["S3Input"]["S3Uri"] == "s3://b/data/x"
