"""Kinds of jobs: what the service calls them, and what follows from that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class JobKind:
    """`name` is in operations and members (CreateTrainingJob, TrainingJobName), `word` in folders and sentences.

    `specification` and `resources`: the members of a request that name the program, and the instances; empty for jobs
    that run no program of their own.
    """

    name: str
    word: str
    specification: str = ""
    resources: str = ""

    @property
    def noun(self) -> str:
        """As in a sentence: training job."""
        return f"{self.word} job"

    @property
    def resource(self) -> str:
        """As in ARNs: training-job, hyper-parameter-tuning-job."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.name).lower()

    @property
    def running(self) -> str:
        """The secondary state of a job whose containers run."""
        return self.word.capitalize()

    @property
    def source_type(self) -> str:
        """Of the trial component that the service makes for a job."""
        return f"SageMaker{self.name}"

    @property
    def log_group(self) -> str:
        return f"/aws/sagemaker/{self.name}s"

    def name_of(self, job: Mapping[str, Any]) -> str:
        """From a request or a description."""
        return job[f"{self.name}Name"]

    def arn_of(self, description: Mapping[str, Any]) -> str:
        return description[f"{self.name}Arn"]

    def status_of(self, description: Mapping[str, Any]) -> str:
        return description[f"{self.name}Status"]

    def component_of(self, job: Mapping[str, Any]) -> str:
        """The name of its trial component."""
        return f"{self.name_of(job)}-aws-{self.resource}"


TRAINING = JobKind("TrainingJob", "training", "AlgorithmSpecification", "ResourceConfig")
PROCESSING = JobKind("ProcessingJob", "processing", "AppSpecification", "ProcessingResources.ClusterConfig")
TUNING = JobKind("HyperParameterTuningJob", "tuning")
KINDS = (TRAINING, TUNING, PROCESSING)


def kind_of(job: Mapping[str, Any]) -> JobKind:
    """Of a request or a description."""
    return next(kind for kind in KINDS if f"{kind.name}Name" in job)
