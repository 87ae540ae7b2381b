"""A CreateHyperParameterTuningJob request: checks it and turns it into definitions of training jobs."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_test.data.object_store import join_uri
from local_test.errors import BadRequest
from local_test.request.defaults import resource_config
from local_test.request.support import check_request
from local_test.request.validation import validate
from local_test.tuning.hyperband import make_pruner
from local_test.tuning.median_stopping import MedianStoppingRule, Pruner
from local_test.tuning.samplers import Sampler, make_sampler
from local_test.tuning.search_space import Range, read_ranges
from local_test.tuning.warm_start import (
    MOST_JOBS,
    OBJECTIVE,
    FindTuningJob,
    TuningJobNotFound,
    TuningRecord,
    list_definitions,
    list_observations,
    read_parents,
)

# Not supported: path in the configuration → the value that asks for nothing. Everything else is acted on.
_REFUSED: Mapping[str, Any] = {
    "HyperParameterTuningJobConfig.TuningJobCompletionCriteria.ConvergenceDetected.CompleteOnConvergence": "Disabled",
    "Autotune": None,
}
# of a definition, not of a training job
OWN = (
    "DefinitionName", "TuningObjective", "HyperParameterRanges", "StaticHyperParameters",
    "HyperParameterTuningResourceConfig",
)  # fmt: skip


@dataclass(frozen=True)
class Definition:
    """One kind of training job that a tuning job creates."""

    name: str | None
    request: Mapping[str, Any]  # without name and tuned hyperparameters
    objective: str
    maximize: bool
    sampler: Sampler
    combinations: float  # of hyperparameters, infinite with a continuous range
    pruner: Pruner | None = None

    def make_request(self, name: str, values: Mapping[str, str]) -> dict[str, Any]:
        """The CreateTrainingJob request. Each training job has its own checkpoints, below the definition's."""
        request = copy.deepcopy(dict(self.request))
        request["TrainingJobName"] = name
        request["HyperParameters"] = {**request["HyperParameters"], **values}
        if "CheckpointConfig" in request:
            request["CheckpointConfig"]["S3Uri"] = join_uri(request["CheckpointConfig"]["S3Uri"], name)
        return request

    def loss(self, value: float) -> float:
        """Lower is better; a value that is not finite is the worst."""
        return math.inf if not math.isfinite(value) else -value if self.maximize else value


@dataclass(frozen=True)
class TuningPlan:
    """What a tuning job does. `target`: a good enough objective; `patience`: how many jobs may be no better."""

    definitions: Sequence[Definition]
    max_jobs: int
    parallel: int
    max_seconds: float | None
    target: float | None
    patience: int | None
    earlier: Sequence[tuple[float, dict[str, Any]]] = ()  # (loss, summary) of parents with the same data

    def prunes_by(self, metric: str) -> bool:
        """Whether a pruner looks at the metric."""
        return any(item.pruner and item.objective == metric for item in self.definitions)


def no_tuning_job(name: str) -> TuningRecord:
    raise TuningJobNotFound(name)


def read_plan(request: Mapping[str, Any], find: FindTuningJob = no_tuning_job) -> TuningPlan:
    """BadRequest, one line, for what the service or this platform refuses."""
    validate(request, "CreateHyperParameterTuningJob")
    _check_supported(request)
    config = request["HyperParameterTuningJobConfig"]
    definitions = _definitions(request, config)
    limits, criteria = config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
    max_jobs = _max_jobs(config, definitions)
    earlier = _add_observations(request, definitions, read_parents(request, find, max_jobs))
    return TuningPlan(
        definitions,
        max_jobs,
        limits["MaxParallelTrainingJobs"],
        limits.get("MaxRuntimeInSeconds"),
        criteria.get("TargetObjectiveMetricValue"),
        criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving"),
        earlier,
    )


def _add_observations(
    request: Mapping[str, Any], definitions: Sequence[Definition], parents: list[TuningRecord]
) -> list[tuple[float, dict[str, Any]]]:
    """Tells each sampler the parents' results; returns those that can be compared: those of the same data."""
    comparable = []
    for item, definition in zip(list_definitions(request), definitions, strict=True):
        for values, objective, summary in list_observations(parents, item):
            definition.sampler.add_observation(values, definition.loss(objective))
            comparable.append((definition.loss(objective), summary))
    identical = request.get("WarmStartConfig", {}).get("WarmStartType") == "IdenticalDataAndAlgorithm"
    return comparable if identical else []


def _check_supported(request: Mapping[str, Any]) -> None:
    for path, nothing in _REFUSED.items():
        value: Any = request
        for name in path.split("."):
            value = value.get(name) if value else None
        if value not in (None, nothing):
            raise BadRequest(
                f"{path} is not supported locally and would change the result. Received: {value}. Take it out"
            )


def _definitions(request: Mapping[str, Any], config: Mapping[str, Any]) -> list[Definition]:
    one, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    if bool(one) == bool(several):
        raise BadRequest("A tuning job needs either TrainingJobDefinition or TrainingJobDefinitions")
    return [_definition(item, config) for item in list_definitions(request)]


def _definition(definition: Mapping[str, Any], config: Mapping[str, Any]) -> Definition:
    objective, ranges = definition.get("TuningObjective"), definition.get("HyperParameterRanges")
    if not objective or not ranges:
        raise BadRequest("A definition needs an objective (Type and MetricName) and ranges of hyperparameters")
    metrics = [item["Name"] for item in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if objective["MetricName"] not in metrics:
        raise BadRequest(  # it begins with the service's words
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
            f"definitions. Received: {objective['MetricName']}. Defined: {', '.join(metrics) or 'none'}"
        )
    search_space, static = read_ranges(ranges), definition.get("StaticHyperParameters", {})
    for item in search_space:
        if item.name in static:
            raise BadRequest(f"A hyperparameter is static or has a range, not both. Received: {item.name}")
    request = {key: value for key, value in definition.items() if key not in OWN}
    request["HyperParameters"] = {**static, OBJECTIVE: objective["MetricName"]}
    if "ResourceConfig" in definition and "HyperParameterTuningResourceConfig" in definition:
        raise BadRequest("A definition has either ResourceConfig or HyperParameterTuningResourceConfig")
    request |= resource_config(definition)
    check_request({**request, "TrainingJobName": "checked"})
    return Definition(
        name=definition.get("DefinitionName"),
        request=request,
        objective=objective["MetricName"],
        maximize=objective["Type"] == "Maximize",
        sampler=make_sampler(config["Strategy"], search_space, config.get("RandomSeed")),
        combinations=math.prod(item.size for item in search_space),
        pruner=_make_pruner(config, static, search_space),
    )


def _make_pruner(config: Mapping[str, Any], static: Mapping[str, str], ranges: Sequence[Range]) -> Pruner | None:
    if config["Strategy"] == "Hyperband":
        return make_pruner(config, static, ranges)
    if config.get("StrategyConfig"):
        raise BadRequest(f"StrategyConfig is for Strategy Hyperband only. Received: Strategy {config['Strategy']}")
    return MedianStoppingRule() if config.get("TrainingJobEarlyStoppingType") == "Auto" else None


def _max_jobs(config: Mapping[str, Any], definitions: Sequence[Definition]) -> int:
    max_jobs = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    combinations = sum(definition.combinations for definition in definitions)
    if config["Strategy"] == "Grid":
        if max_jobs not in (None, combinations):
            raise BadRequest(
                f"MaxNumberOfTrainingJobs must be the grid's {combinations} or left out. Received: {max_jobs}"
            )
        max_jobs = int(combinations)
    if max_jobs is None:
        raise BadRequest("ResourceLimits.MaxNumberOfTrainingJobs is missing: only Strategy Grid knows it by itself")
    if max_jobs > combinations:  # the service's words
        raise BadRequest(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{float(combinations)}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{max_jobs}]. Provide additional ranges."
        )
    if max_jobs > MOST_JOBS:
        raise BadRequest(f"A tuning job makes at most {MOST_JOBS} training jobs. Received: {max_jobs}")
    return max_jobs
