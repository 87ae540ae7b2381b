"""What the service adds to a request where it describes the job, as recorded answers of Describe operations show it.

Clients read these members unguarded: SDK v2's `Estimator.attach` fails without OutputDataConfig.KmsKeyId.
"""

import copy
from collections.abc import Mapping
from typing import Any

_RANGES = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")
_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
_MAX_RUNTIME = 86400  # seconds
_S3_INPUT = {"S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}

Description = dict[str, Any]


def fill_training_job(description: Mapping[str, Any]) -> Description:
    """A training job with what was left out of its request; filled in twice it is the same."""
    filled = _fill_common({"InputDataConfig": [], **description})
    filled["AlgorithmSpecification"] = {
        "EnableSageMakerMetricsTimeSeries": False,
        **filled.get("AlgorithmSpecification", {}),
    }
    profiler = filled.get("ProfilerConfig", {"DisableProfiler": True})
    filled["ProfilingStatus"] = "Disabled" if profiler.get("DisableProfiler") else "Enabled"
    if not profiler.get("DisableProfiler"):
        profiler.setdefault("ProfilingIntervalInMilliseconds", 500)
        profiler.setdefault("DisableProfiler", False)
    for rule in [*filled.get("DebugRuleConfigurations", []), *filled.get("ProfilerRuleConfigurations", [])]:
        rule.setdefault("VolumeSizeInGB", 0)
    return filled


def fill_processing_job(description: Mapping[str, Any]) -> Description:
    """A processing job with what was left out of its request; filled in twice it is the same."""
    filled: Description = copy.deepcopy(dict(description))
    filled.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": _MAX_RUNTIME})
    for item in filled.get("ProcessingInputs", []):
        item.setdefault("AppManaged", False)
        for name, value in _S3_INPUT.items():
            item["S3Input"].setdefault(name, value)
    for item in filled.get("ProcessingOutputConfig", {}).get("Outputs", []):
        item.setdefault("AppManaged", False)
    return filled


def fill_tuning_job(description: Mapping[str, Any]) -> Description:
    """A tuning job, or the request for one, with what was left out."""
    filled: Description = copy.deepcopy(dict(description))
    config = filled["HyperParameterTuningJobConfig"]
    config.setdefault("TrainingJobEarlyStoppingType", "Off")
    _fill_ranges(config.get("ParameterRanges"))
    if definition := filled.get("TrainingJobDefinition"):
        filled["TrainingJobDefinition"] = _fill_definition(definition)
    if definitions := filled.get("TrainingJobDefinitions"):
        filled["TrainingJobDefinitions"] = [_fill_definition(item) for item in definitions]
    return filled


def _fill_definition(definition: Mapping[str, Any]) -> Description:
    filled = _fill_common(definition)
    _fill_ranges(filled.get("HyperParameterRanges"))
    return {**resource_config(filled), **filled}


def resource_config(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """ResourceConfig by HyperParameterTuningResourceConfig; of several instance types the first: here all exist."""
    resources = definition.get("HyperParameterTuningResourceConfig")
    if resources is None:
        return {}
    first = resources.get("InstanceConfigs", [{}])[0]
    return {"ResourceConfig": {key: value for key, value in {**resources, **first}.items() if key in _RESOURCES}}


def _fill_common(part: Mapping[str, Any]) -> Description:
    """What training jobs and definitions of them have in common."""
    filled: Description = copy.deepcopy(dict(part))
    filled["OutputDataConfig"] = {"KmsKeyId": "", "CompressionType": "GZIP", **filled.get("OutputDataConfig", {})}
    filled["StoppingCondition"] = {"MaxRuntimeInSeconds": _MAX_RUNTIME, **filled.get("StoppingCondition", {})}
    for channel in filled.get("InputDataConfig", []):
        channel.setdefault("CompressionType", "None")
        channel.setdefault("RecordWrapperType", "None")
    for name in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        filled.setdefault(name, False)
    return filled


def _fill_ranges(ranges: Description | None) -> None:
    if ranges is not None:
        for name in _RANGES:
            ranges.setdefault(name, [])
        for item in [*ranges["IntegerParameterRanges"], *ranges["ContinuousParameterRanges"]]:
            item.setdefault("ScalingType", "Auto")
