"""The form of a request that the platform works with; what clients see of it stays as they wrote it.

Every S3 address is s3://bucket/key, whatever form of S3's https:// addresses it came in, and ResourceConfig has
InstanceType and InstanceCount, where a client named an instance group. An Unknown stays one.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.model import Shape

from local_test.errors import BadRequest
from local_test.request.validation import Unknown, service_model

# s3, s3.REGION, s3-REGION, s3.dualstack.REGION, s3-fips.REGION, s3-accelerate, each with a bucket before it or without
_S3_HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-][a-z0-9-]+){0,3}\.amazonaws\.com(?:\.cn)?")


def normal_form(request: Mapping[str, Any]) -> dict[str, Any]:
    """A CreateTrainingJob request in that form. BadRequest for what has none."""
    found = with_s3_uris(request, "CreateTrainingJob")
    found["ResourceConfig"] = _with_one_type(found.get("ResourceConfig", {}))
    _check_groups(found)
    return found


def with_s3_uris(request: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """A copy of the request in which every S3 address is s3://bucket/key."""
    found: dict[str, Any] = _with_s3_uris(
        copy.deepcopy(dict(request)), service_model().operation_model(operation).input_shape
    )
    return found


def _with_s3_uris(value: Any, shape: Shape) -> Any:
    if shape.type_name == "structure":
        return {name: _with_s3_uris(item, shape.members[name]) for name, item in value.items()}
    if shape.type_name == "list":
        return [_with_s3_uris(item, shape.member) for item in value]
    return to_s3_uri(value) if shape.name == "S3Uri" and str(value).startswith("https://") else value


def to_s3_uri(address: str) -> str:
    """s3://bucket/key of an https:// address of S3. BadRequest for any other."""
    parts = urlsplit(address)
    host = _S3_HOST.fullmatch(parts.netloc)
    path = unquote(parts.path).lstrip("/")
    place = f"{host['bucket']}/{path}" if host and host["bucket"] else path
    if not host or not place.partition("/")[0] or parts.query or parts.fragment:
        raise BadRequest(
            f"It is no address of S3. Received: {address}. Expected: s3://bucket/key, "
            "https://bucket.s3.REGION.amazonaws.com/key or https://s3.REGION.amazonaws.com/bucket/key"
        )
    return f"s3://{place}"


def _with_one_type(resources: Mapping[str, Any]) -> dict[str, Any]:
    groups = resources.get("InstanceGroups")
    if not groups:
        return dict(resources)
    if len(groups) > 1:
        names = ", ".join(group.get("InstanceGroupName", "") for group in groups)
        raise BadRequest(
            f"A job has one instance group here, heterogeneous clusters are not supported. Received: {names}"
        )
    if {"InstanceType", "InstanceCount"} & set(resources):
        raise BadRequest("ResourceConfig has either InstanceType and InstanceCount or InstanceGroups")
    return {**resources, **{name: groups[0][name] for name in ("InstanceType", "InstanceCount") if name in groups[0]}}


def _check_groups(request: Mapping[str, Any]) -> None:
    """A channel may name the groups that get it; here that is all there are."""
    known = {group.get("InstanceGroupName") for group in request["ResourceConfig"].get("InstanceGroups", [])}
    if any(isinstance(name, Unknown) for name in known):
        return
    for channel in request.get("InputDataConfig", []):
        named = channel.get("DataSource", {}).get("S3DataSource", {}).get("InstanceGroupNames", [])
        if unknown := {name for name in named if not isinstance(name, Unknown)} - known:
            names = ", ".join(sorted(unknown))
            raise BadRequest(f"Channel {channel['ChannelName']}: no instance group has that name. Received: {names}")
