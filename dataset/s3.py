"""S3, for `upload` and `inspect`: its client, and its failures as lines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dataset.errors import DatasetError, describe_error

PARALLEL = 8  # connections
_ANSWERS = {
    "NoSuchBucket": "no such bucket: {bucket}. `aws s3 mb s3://{bucket}` makes it",
    "AccessDenied": "access denied to s3://{bucket}/{prefix}: s3:ListBucket, s3:GetObject and s3:PutObject are needed",
    "InvalidAccessKeyId": "the AWS access key is not known: check your credentials",
    "SignatureDoesNotMatch": "the AWS secret key does not fit its access key: check your credentials",
    "ExpiredToken": "the AWS credentials have expired: sign in again",
}
# HEAD answers have no body: S3 can only say the number
_ANSWERS |= {"403": _ANSWERS["AccessDenied"], "404": _ANSWERS["NoSuchBucket"]}


def open_client(endpoint_url: str | None) -> Any:
    """boto3's; without an address the one that the environment names, or AWS."""
    boto3, config = _boto()
    # bucket.host does not resolve where the host is a local stand-in; real S3 wants the bucket in the host name
    elsewhere = endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        config=config(
            s3={"addressing_style": "path" if elsewhere else "auto"},
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 4},
            max_pool_connections=PARALLEL,
        ),
    )


def _boto() -> tuple[Any, Any]:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise DatasetError(
            "boto3 is not installed: `pip install boto3`, or this project with its extra `launch`"
        ) from None
    return boto3, Config


@contextmanager
def one_line_failures(bucket: str, prefix: str) -> Iterator[None]:
    """Turns what boto3 raises into a DatasetError of one line."""
    _boto()
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise DatasetError(
            "no AWS credentials: `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        answer = _ANSWERS.get(code, "S3 refuses: {error}")
        raise DatasetError(answer.format(bucket=bucket, prefix=prefix, error=error)) from error
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no address
        raise DatasetError(f"S3 cannot be used: {describe_error(error)}") from error
