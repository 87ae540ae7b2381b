"""Errors of a launch, each as one line that says what to do."""

from collections.abc import Iterator

from botocore import exceptions

CREDENTIALS = (
    "No AWS credentials were found. Run `aws configure` or set AWS_PROFILE; for the local API paste the exports that "
    "`python -m local_test serve` prints."
)
REGION = "No region is set. Set AWS_DEFAULT_REGION, or run `aws configure set region REGION`."
NETWORK = "Nothing answers at {endpoint}. Is there a network? For the local API: does `python -m local_test serve` run?"
REFUSED = "AWS does not know these credentials ({code}). Sign in again: `aws configure`, `aws sso login`, or new keys."
DENIED = "Access denied: {message} launch/iam/launcher_policy.json has what a launcher needs."
QUOTA = "{message} Ask for a higher quota in Service Quotas, or take another --instance-type."
# what a service says while it is overloaded: the job goes on
_TRANSIENT = {"InternalFailure", "RequestLimitExceeded", "ServiceUnavailable", "Throttling", "ThrottlingException"}
_NETWORK = (exceptions.ConnectionError, exceptions.HTTPClientError)
_UNKNOWN_CALLER = {
    "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}  # fmt: skip


class LaunchError(Exception):
    """One line for a person: what is wrong, what was received, what to do."""


def user_message(error: BaseException) -> str | None:
    """The line for an error of AWS, or of an SDK because of one; None for anything else, which is a bug."""
    for cause in _causes(error):
        if isinstance(cause, LaunchError):
            return str(cause)
        if line := _line(cause):
            return " ".join(line.split())
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the error comes from the network or an overloaded service, so that trying again may help."""
    if isinstance(error, exceptions.ClientError):
        return error.response["Error"].get("Code") in _TRANSIENT
    return isinstance(error, _NETWORK)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _line(error: BaseException) -> str | None:
    if isinstance(error, exceptions.ClientError):
        return _answer(error)
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return CREDENTIALS
    if isinstance(error, exceptions.NoRegionError):
        return REGION
    if isinstance(error, _NETWORK):
        return NETWORK.format(endpoint=getattr(error, "kwargs", {}).get("endpoint_url") or "the service's address")
    if isinstance(error, exceptions.BotoCoreError):  # a profile that is not there, a sign-in that has expired, …
        return f"{error} See `aws configure list`."
    return None


def _answer(error: exceptions.ClientError) -> str:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    message = message.rstrip(". ") + "."
    if code in _UNKNOWN_CALLER:
        return REFUSED.format(code=code)
    if code in ("AccessDenied", "AccessDeniedException", "403"):
        return DENIED.format(message=message)
    if code == "ResourceLimitExceeded":
        return QUOTA.format(message=message)
    return f"{error.operation_name} was refused: {message} ({code})"
