"""Checks what a job needs before it starts: a mistake costs a second here, minutes of an instance there."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from launch.core.errors import LaunchError
from launch.core.request import Options, build_request, input_uris, missing_data_message

_LIMITS = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})
_SERVICE = "sagemaker.amazonaws.com"


def client(name: str) -> Any:
    """A boto3 client that gives up within a minute or two."""
    return boto3.client(name, config=_LIMITS)


def preflight(options: Options) -> Options:
    """The options after all checks, the role as an ARN. LaunchError or an error of botocore's: see user_message."""
    client("sts").get_caller_identity()
    check_bucket(options.bucket)
    _check_data(options)
    return replace(options, role=find_role(options.role))


def check_bucket(bucket: str) -> None:
    """LaunchError unless it is there, ours, and where jobs run."""
    s3 = client("s3")
    try:
        place = s3.head_bucket(Bucket=bucket).get("BucketRegion")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("404", "NoSuchBucket"):
            raise LaunchError(
                f"The bucket does not exist. Received: {bucket}. Make it with `aws s3 mb s3://{bucket}`, or name "
                "another --bucket."
            ) from None
        if code in ("403", "AccessDenied"):
            raise LaunchError(
                f"The bucket may not be used with these credentials. Received: {bucket}. Is it yours? Name another "
                "--bucket."
            ) from None
        if code not in ("301", "PermanentRedirect"):
            raise
        place = error.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "another region")
    if place and place != s3.meta.region_name:
        raise LaunchError(
            f"The bucket is in another region than the job. Received: {bucket} in {place}, the job in "
            f"{s3.meta.region_name}. Set AWS_DEFAULT_REGION={place}, or name another --bucket."
        )


def _check_data(options: Options) -> None:
    """What the job reads of its bucket; other buckets may be the role's alone to look at."""
    s3, here = client("s3"), f"s3://{options.bucket}/"
    for uri, channel in input_uris(build_request(options)).items():
        if uri.startswith(here):
            found = s3.list_objects_v2(Bucket=options.bucket, Prefix=uri.removeprefix(here), MaxKeys=1)
            if not found.get("Contents"):
                raise LaunchError(missing_data_message(channel, uri, options.bucket))


def find_role(role: str) -> str:
    """The ARN. A launcher need not be allowed to look at roles: then the service is the one to say what is wrong."""
    name, is_arn = role.rpartition("/")[2], role.startswith("arn:")
    try:
        found = client("iam").get_role(RoleName=name)["Role"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchEntity":
            raise LaunchError(
                f"The role does not exist in this account. Received: {role}. launch/iam/ has what to make one from; "
                "with the local API it is called local."
            ) from None
        if code in ("AccessDenied", "AccessDeniedException"):
            if is_arn:
                return role
            raise LaunchError(f"The role can't be looked up by its name. Received: {role}. Give its ARN.") from None
        raise
    if is_arn and role != found["Arn"]:
        raise LaunchError(f"The role does not exist. Received: {role}. Did you mean {found['Arn']}?")
    if not _trusts(found["AssumeRolePolicyDocument"]):
        raise LaunchError(
            f"SageMaker may not assume the role. Received: {role}. Its trust policy must name {_SERVICE}: see "
            "launch/iam/trust_policy.json."
        )
    return found["Arn"]


def _trusts(policy: Mapping[str, Any] | str) -> bool:
    return _SERVICE in (policy if isinstance(policy, str) else json.dumps(policy))
