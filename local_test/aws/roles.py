"""The IAM of this same process: AWS's own policies, and which roles SageMaker may assume."""

import json
from contextlib import suppress
from typing import Any

from moto.core.config import default_user_config
from moto.iam.exceptions import EntityAlreadyExists
from moto.iam.models import iam_backends

from local_test.errors import BadRequest
from local_test.util.arns import ACCOUNT

SERVICE = "sagemaker.amazonaws.com"
_ASSUME = ("sts:AssumeRole", "sts:*", "*")


def load_managed_policies() -> None:
    """AmazonSageMakerFullAccess and all others that roles are given; before anything asks IAM."""
    default_user_config["iam"]["load_aws_managed_policies"] = True


def create_role(name: str) -> None:
    """One that SageMaker may assume; before anybody can ask for it."""
    statement = {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": _ASSUME[0]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with suppress(EntityAlreadyExists):
        iam_backends[ACCOUNT]["aws"].create_role(name, policy, "/", None, "", [], "3600")


def check_role(arn: str) -> None:
    """BadRequest in the service's words for a role that is not there, or does not trust SageMaker."""
    roles = list(iam_backends[ACCOUNT]["aws"].roles.values())
    if not any(role.arn == arn and _is_trusting(role.assume_role_policy_document) for role in roles):
        raise BadRequest(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal '{SERVICE}' to "
            "assume the role. (This server does not know the roles of AWS: create it here, use "
            f"arn:aws:iam::{ACCOUNT}:role/local, or start serve with --any-role)"
        )


def _is_trusting(document: Any) -> bool:
    """Whether the last word of a trust policy for SageMaker is Allow."""
    try:
        policy = json.loads(document) if isinstance(document, str) else document
        effects = [one["Effect"] for one in _list(policy["Statement"]) if _concerns_sagemaker(one)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return "Allow" in effects and "Deny" not in effects


def _concerns_sagemaker(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = _list(principal) if isinstance(principal, str) else _list(principal.get("Service", []))
    actions = _list(statement.get("Action", []))
    return any(name in services for name in (SERVICE, "*")) and any(action in actions for action in _ASSUME)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
