"""Retry policies: which of them a failure falls under, and when the next attempt is due."""

from collections.abc import Sequence

from local_test.executions.record import StepRecord
from local_test.executions.services import ServiceError
from local_test.pipelines.definition import RetryPolicy
from local_test.training.job_status import PLATFORM


def kind_of_error(error: Exception) -> str:
    """The exception type of an operation that was refused; empty if no policy is for it."""
    code = error.code if isinstance(error, ServiceError) else ""
    if code in ("InternalFailure", "ServiceUnavailable"):
        return "Step.SERVICE_FAULT"
    if code in ("ThrottlingException", "Throttling"):
        return "Step.THROTTLING"
    return "SageMaker.RESOURCE_LIMIT" if code == "ResourceLimitExceeded" else ""


def kind_of_failure(reason: str) -> str:
    """The exception type of a job that has failed, by its FailureReason; empty if no policy is for it."""
    if reason.startswith("CapacityError"):
        return "SageMaker.CAPACITY_ERROR"
    return "SageMaker.JOB_INTERNAL_ERROR" if reason.startswith(PLATFORM) else ""


def next_attempt(policies: Sequence[RetryPolicy], step: StepRecord, kind: str, now: float) -> float | None:
    """When the step is to be tried again, in epoch seconds, which counts as an attempt; None if it has failed."""
    for index, policy in enumerate(policies):
        count = step.retries.get(str(index), 0)
        if kind not in policy.exceptions:
            continue
        if policy.max_attempts is not None and count >= policy.max_attempts:
            return None
        at = now + policy.interval_seconds * policy.backoff_rate**count
        if policy.expire_after is not None and at > step.start + policy.expire_after.total_seconds():
            return None
        step.retries = {**step.retries, str(index): count + 1}
        return at
    return None


def explain(kind: str, execution_arn: str, step: str) -> str:
    """What the service adds to the reason where a policy would have helped; the ARN is in small letters there."""
    name, execution_arn = kind.replace(".", "_").upper().removeprefix("STEP_"), execution_arn.lower()
    return (
        f"\nRetry not appropriate on execution of step with PipelineExecutionArn {execution_arn} and StepId {step}. "
        f"No retry policy configured for the exception type {name}."
    )
