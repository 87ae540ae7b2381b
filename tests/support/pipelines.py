"""Definitions of pipelines, small enough to read."""

import copy
import json
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/local"
GET_EPOCHS = {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Epochs"}]}}
ACCURACY = {
    "Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.accuracy.value"}
}
RESOURCES = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
TRAIN: dict[str, Any] = {
    "Name": "Train",
    "Type": "Training",
    "Arguments": {
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {"epochs": GET_EPOCHS},
    },
}
EVALUATE: dict[str, Any] = {
    "Name": "Evaluate",
    "Type": "Processing",
    "Arguments": {
        "AppSpecification": {"ImageUri": "image"},
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": RESOURCES},
        "ProcessingInputs": [
            {
                "InputName": "model",
                "S3Input": {
                    "S3Uri": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
                    "LocalPath": "/opt/ml/processing/model",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "report",
                    "S3Output": {
                        "S3Uri": "s3://bucket/report",
                        "LocalPath": "/opt/ml/processing/report",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    },
    "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"}],
}
MODEL: dict[str, Any] = {
    "Name": "Model",
    "Type": "Model",
    "Arguments": {
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": "image",
            "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
        },
    },
}
_TUNED = {**TRAIN["Arguments"], "StaticHyperParameters": {"epochs": GET_EPOCHS}}
_TUNED["AlgorithmSpecification"] = {
    **_TUNED["AlgorithmSpecification"],
    "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy=(.*)"}],
}
del _TUNED["HyperParameters"]
TUNE: dict[str, Any] = {
    "Name": "Tune",
    "Type": "Tuning",
    "Arguments": {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "accuracy"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.1", "MaxValue": "1"}]},
        },
        "TrainingJobDefinition": _TUNED,
    },
}
REGISTER: dict[str, Any] = {
    "Name": "Register",
    "Type": "RegisterModel",
    "Arguments": {
        "ModelPackageGroupName": "group",
        "CustomerMetadataProperties": {"best": {"Get": "Steps.Tune.BestTrainingJob.TrainingJobName"}},
    },
}
CALLBACK: dict[str, Any] = {
    "Name": "Approve",
    "Type": "Callback",
    "Arguments": {"accuracy": ACCURACY},
    "SqsQueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
    "OutputParameters": [{"OutputName": "verdict", "OutputType": "String"}],
}
FAIL: dict[str, Any] = {"Name": "TooBad", "Type": "Fail", "Arguments": {"ErrorMessage": "accuracy is too low"}}
IS_GOOD: dict[str, Any] = {
    "Name": "IsGood",
    "Type": "Condition",
    "Arguments": {
        "Conditions": [
            {"Type": "GreaterThanOrEqualTo", "LeftValue": ACCURACY, "RightValue": {"Get": "Parameters.Threshold"}}
        ],
        "IfSteps": [MODEL],
        "ElseSteps": [FAIL],
    },
}
DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Metadata": {},
    "Parameters": [
        {"Name": "Epochs", "Type": "Integer", "DefaultValue": 3},
        {"Name": "Threshold", "Type": "Float", "DefaultValue": 0.5},
        {"Name": "Kind", "Type": "String", "DefaultValue": "small", "EnumValues": ["small", "large"]},
        {"Name": "Data", "Type": "String"},
        {"Name": "Quick", "Type": "Boolean", "DefaultValue": True},
    ],
    "PipelineExperimentConfig": {
        "ExperimentName": {"Get": "Execution.PipelineName"},
        "TrialName": {"Get": "Execution.PipelineExecutionId"},
    },
    "Steps": [TRAIN, EVALUATE, IS_GOOD],
}


def changed(value: Any, path: str, new: Any) -> Any:
    """A copy in which the item at a path, such as "Steps.0.Arguments", is another; `...` takes it out."""
    copied = copy.deepcopy(value)
    *outer, last = (int(part) if part.isdigit() else part for part in path.split("."))
    inner = copied
    for part in outer:
        inner = inner[part]
    if new is ...:
        del inner[last]
    elif isinstance(inner, list) and last == len(inner):
        inner.append(new)
    else:
        inner[last] = new
    return copied


def definition(path: str = "Version", new: Any = "2020-12-01") -> str:
    """DEFINITION's text, with the item at a path changed."""
    return json.dumps(changed(DEFINITION, path, new))
