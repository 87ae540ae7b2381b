"""Follows a pipeline's execution to its end: a line for each step whose state changes."""

from collections.abc import Iterator, Mapping
from typing import Any

from launch.core.console import say
from launch.core.preflight import client

_OVER = ("Succeeded", "Failed", "Stopped")


class PipelineExecution:
    """One execution of a pipeline."""

    def __init__(self, arn: str) -> None:
        self._sagemaker, self._arn = client("sagemaker"), arn
        self._printed: dict[str, str] = {}
        self._description: Mapping[str, Any] = {}

    def poll(self) -> bool:
        """Print the steps that have changed; whether the execution is over."""
        self._description = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=self._arn)
        for step in self._steps():
            line = describe_step(step)
            if self._printed.get(step["StepName"]) != line:
                self._printed[step["StepName"]] = line
                say(line)
                self._print_exit_message(step)
        return self._description["PipelineExecutionStatus"] in _OVER

    def _print_exit_message(self, step: Mapping[str, Any]) -> None:
        """What the container of a processing job has left; its FailureReason names the log alone."""
        job = step.get("Metadata", {}).get("ProcessingJob", {}).get("Arn", "").rpartition("/")[2]
        if job and step["StepStatus"] == "Failed":
            message = self._sagemaker.describe_processing_job(ProcessingJobName=job).get("ExitMessage")
            say(
                f"{step['StepName']} said: {message}" if message else f"{step['StepName']} left no message: see its log"
            )

    @property
    def state(self) -> str:
        return str(self._description["PipelineExecutionStatus"])

    def _steps(self) -> Iterator[Mapping[str, Any]]:
        pages = self._sagemaker.get_paginator("list_pipeline_execution_steps")
        for page in pages.paginate(PipelineExecutionArn=self._arn, SortOrder="Ascending"):
            yield from page["PipelineExecutionSteps"]

    def stop(self) -> None:
        self._sagemaker.stop_pipeline_execution(PipelineExecutionArn=self._arn)

    def print_summary(self) -> int:
        """Print how it ended and why, and the model package; the exit code."""
        status, reason = self._description["PipelineExecutionStatus"], self._description.get("FailureReason")
        say(f"-- {status}" + (f": {reason}" if reason else ""))
        for step in self._steps():
            if package := step.get("Metadata", {}).get("RegisterModel", {}).get("Arn"):
                say(f"model package        {package}")
        return 0 if status == "Succeeded" else 1


def describe_step(step: Mapping[str, Any]) -> str:
    """Name, status, and what is known of it: its job, a condition's outcome, why it failed."""
    facts = [f"{step['StepName']:<22} {step['StepStatus']}"]
    for made in step.get("Metadata", {}).values():
        facts += [made["Arn"].partition("/")[2]] if "Arn" in made else []
        facts += [str(made[name]) for name in ("Outcome", "ErrorMessage") if name in made]
    if "CacheHitResult" in step:
        facts.append("not run again: the result of an earlier execution")
    if step.get("FailureReason"):
        facts.append(step["FailureReason"])
    return "  ".join(dict.fromkeys(facts))
