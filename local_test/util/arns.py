"""Amazon Resource Names: the account, the region and the form of what this platform names."""

from collections.abc import Mapping

ACCOUNT = "123456789012"  # moto's
DEFAULT_REGION = "us-east-1"


def region(environ: Mapping[str, str]) -> str:
    """The region that ARNs and AWS_REGION name."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def format_arn(region: str, resource: str, name: str) -> str:
    """The ARN of one of SageMaker's resources, such as a `training-job`; the name is in lower case there."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{resource}/{name.lower()}"
