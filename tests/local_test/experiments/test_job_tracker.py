"""The trial component that the service makes for a job, against answers of the service that people have published:
of a training job in 2024, a processing job in 2022."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_test.experiments.entities import Experiments
from local_test.experiments.job_tracker import JobTracker
from local_test.processing.job_status import ProcessingJobStatus
from local_test.training.job_status import JobStatus, TrainingJobStatus

NOW, ARN = datetime(2026, 1, 1, tzinfo=UTC), "arn:aws:sagemaker:us-west-2:123456789012"
TRAINING: dict[str, Any] = {
    "TrainingJobName": "train",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "DebugHookConfig": {"S3OutputPath": "s3://b/prefix/", "CollectionConfigurations": []},
    "OutputDataConfig": {"S3OutputPath": "s3://b/prefix"},
    "ResourceConfig": {"InstanceType": "ml.g5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
}
OF_TRAINING = {
    "CreatedBy": {},
    "DisplayName": "train-aws-training-job",
    "Source": {"SourceArn": f"{ARN}:training-job/train", "SourceType": "SageMakerTrainingJob"},
    "OutputArtifacts": {
        "SageMaker.DebugHookOutput": {"Value": "s3://b/prefix/"},
        "SageMaker.ModelArtifact": {"Value": "s3://b/prefix/train/output/model.tar.gz"},
    },
    "Parameters": {
        "SageMaker.ImageUri": {"StringValue": "image"},
        "SageMaker.InstanceCount": {"NumberValue": 1.0},
        "SageMaker.InstanceType": {"StringValue": "ml.g5.4xlarge"},
        "SageMaker.VolumeSizeInGB": {"NumberValue": 30.0},
    },
    "TrialComponentArn": f"{ARN}:experiment-trial-component/train-aws-training-job",
    "TrialComponentName": "train-aws-training-job",
}
PROCESSING: dict[str, Any] = {
    "ProcessingJobName": "evaluate",
    "AppSpecification": {"ImageUri": "image"},
    "ProcessingInputs": [
        {"InputName": "ground-truth", "S3Input": {"S3Uri": "s3://b/labels"}},
        {"InputName": "predictions", "S3Input": {"S3Uri": "s3://b/predictions"}},
    ],
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "metrics", "S3Output": {"S3Uri": "s3://b/metrics"}}]},
    "ProcessingResources": {
        "ClusterConfig": {"InstanceType": "ml.t3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    },
}
OF_PROCESSING = {
    "TrialComponentName": "evaluate-aws-processing-job",
    "TrialComponentArn": f"{ARN}:experiment-trial-component/evaluate-aws-processing-job",
    "DisplayName": "evaluate-aws-processing-job",
    "Source": {"SourceArn": f"{ARN}:processing-job/evaluate", "SourceType": "SageMakerProcessingJob"},
    "Status": {
        "PrimaryStatus": "Completed",
        "Message": "Status: Completed, exit message: null, failure reason: null",
    },
    "CreatedBy": {},
    "LastModifiedBy": {},
    "Parameters": {
        "SageMaker.InstanceCount": {"NumberValue": 1.0},
        "SageMaker.InstanceType": {"StringValue": "ml.t3.2xlarge"},
        "SageMaker.VolumeSizeInGB": {"NumberValue": 30.0},
    },
    "InputArtifacts": {
        "SageMaker.ImageUri": {"Value": "image"},
        "ground-truth": {"Value": "s3://b/labels"},
        "predictions": {"Value": "s3://b/predictions"},
    },
    "OutputArtifacts": {"metrics": {"Value": "s3://b/metrics"}},
    "Metrics": [],
}


@pytest.mark.parametrize(
    ("kind", "request_", "recorded"),
    [(TrainingJobStatus, TRAINING, OF_TRAINING), (ProcessingJobStatus, PROCESSING, OF_PROCESSING)],
)
def test_a_job_has_the_component_that_the_service_makes(
    tmp_path: Path, kind: type[JobStatus], request_: dict[str, Any], recorded: dict[str, Any]
) -> None:
    experiments = Experiments(tmp_path, "us-west-2", lambda: NOW)
    tracker = JobTracker(experiments, request_)
    name = kind.kind.name_of(request_)
    status = kind.from_request(request_, f"{ARN}:{kind.kind.resource}/{name}", lambda: NOW)
    tracker.on_transition(status.describe())
    for state in ("Downloading", kind.kind.running, "Uploading", "Completed"):
        status.move(state)
        if isinstance(status, TrainingJobStatus):
            status.set_model("s3://b/prefix/train/output/model.tar.gz")
        tracker.on_transition(status.describe())
    found = experiments.describe_component(experiments.components.get(recorded["TrialComponentName"]))
    assert {name: found[name] for name in recorded} == recorded
    assert found["StartTime"] == found["EndTime"] == NOW


def test_a_failed_processing_job_says_both(tmp_path: Path) -> None:
    experiments = Experiments(tmp_path, "us-west-2", lambda: NOW)
    tracker = JobTracker(experiments, PROCESSING)
    status = ProcessingJobStatus.from_request(PROCESSING, f"{ARN}:processing-job/evaluate", lambda: NOW)
    tracker.on_transition(status.describe())
    status.set_message("labels are missing")
    status.fail("AlgorithmError: , exit code: 1")
    status.move("Failed")
    tracker.on_transition(status.describe())
    assert experiments.components.get("evaluate-aws-processing-job")["Status"] == {
        "PrimaryStatus": "Failed",
        "Message": "Status: Failed, exit message: labels are missing, failure reason: AlgorithmError: , exit code: 1",
    }
