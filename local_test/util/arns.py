"""Amazon Resource Names: the account, the region and the form of what this platform names."""

import re
from collections.abc import Mapping

ACCOUNT = "123456789012"  # moto's
DEFAULT_REGION = "us-east-1"


def region(environ: Mapping[str, str]) -> str:
    """The region that ARNs and AWS_REGION name."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def is_region(name: str) -> bool:
    """Whether it has a region's form, such as us-gov-west-1. It becomes a folder's name."""
    return re.fullmatch(r"[a-z]{2,3}(-[a-z]{1,16}){1,3}-[0-9]{1,2}", name) is not None


def format_arn(region: str, resource: str, name: str) -> str:
    """The ARN of one of SageMaker's resources, such as a `training-job`; the name is in lower case there, but
    for that of a `pipeline`, which the SDK's own tests look for as it was given."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{resource}/{name if resource == 'pipeline' else name.lower()}"
