"""Which steps have the same arguments, by the members that the service compares (pipelines-default-keys.html)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DEFINITION = (
    "AlgorithmSpecification", "HyperParameterRanges", "InputDataConfig", "StaticHyperParameters", "TuningObjective",
)  # fmt: skip
_KEYS: Mapping[str, tuple[str, ...]] = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification", "CheckpointConfig", "DebugHookConfig", "DebugRuleConfigurations", "Environment",
        "HyperParameters", "InputDataConfig",
    ),
    "Tuning": ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions"),
}  # fmt: skip


def cache_key(kind: str, arguments: Mapping[str, Any]) -> str:
    """Of a step's arguments without expressions; empty for a type whose steps the service does not cache."""
    if kind not in _KEYS:
        return ""
    compared = {name: arguments[name] for name in _KEYS[kind] if name in arguments}
    if "TrainingJobDefinition" in compared:
        one = compared["TrainingJobDefinition"]
        compared["TrainingJobDefinition"] = {name: one[name] for name in _DEFINITION if name in one}
    return hashlib.sha256(json.dumps([kind, compared], sort_keys=True).encode()).hexdigest()
