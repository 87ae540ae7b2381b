"""Whether a step's Arguments would be admitted as a job, as far as that is known before anything runs: by the functions
that admit the job then. An Unknown stands in the place of each expression.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_test.hosts.opt_ml import checkpoint_path, tensorboard_path
from local_test.request.processing import PROCESSING_SUPPORT, check_processing_request
from local_test.request.support import TRAINING_SUPPORT, check_request
from local_test.request.validation import Unknown, validate
from local_test.training.metrics import MetricReader
from local_test.tuning.hyperband import NAMES
from local_test.tuning.plan import OWN, read_plan
from local_test.tuning.warm_start import list_definitions

Request = Mapping[str, Any]

_SUPPORTS = {support.operation: support for support in (TRAINING_SUPPORT, PROCESSING_SUPPORT)}
_SCALARS = ("string", "integer", "long", "float", "double", "boolean", "timestamp")


def check_job_request(operation: str, request: Request) -> None:
    """BadRequest for what the service or this platform would refuse whatever the expressions stand for."""
    validate(request, operation)
    _check_supported(operation, request)
    if operation in _CHECKS and all(one.type in _SCALARS for one in _find_unknown(request)):
        _CHECKS[operation](request)


def _find_unknown(value: Any) -> Iterator[Unknown]:
    if isinstance(value, Unknown):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _find_unknown(item)


def _is_known(value: Any) -> bool:
    return next(_find_unknown(value), None) is None


def _check_supported(operation: str, request: Request) -> None:
    """A tuning job's definitions are looked at as the training jobs that it makes."""
    if support := _SUPPORTS.get(operation):
        support.check(request)
    several = request.get("TrainingJobDefinitions")
    for one in (request.get("TrainingJobDefinition"), *(several if isinstance(several, list) else ())):
        if isinstance(one, dict):
            TRAINING_SUPPORT.check({name: value for name, value in one.items() if name not in OWN})


def _check_training(request: Request) -> None:
    check_request(request)
    _check_metrics(request)
    for name, find in (("CheckpointConfig", checkpoint_path), ("TensorBoardOutputConfig", tensorboard_path)):
        if _is_known(request.get(name, {}).get("LocalPath")):
            find(request)


def _check_metrics(request: Request) -> None:
    MetricReader([one for one in request["AlgorithmSpecification"].get("MetricDefinitions", []) if _is_known(one)])


def _check_tuning(request: Request) -> None:
    """Parents of a warm start may be made by then, and limits that are not known may be any that suit."""
    config = dict(request["HyperParameterTuningJobConfig"])
    limits = config["ResourceLimits"]
    config["ResourceLimits"] = {name: value if _is_known(value) else 1 for name, value in limits.items()}
    if config["Strategy"] == "Grid" and not _is_known(limits.get("MaxNumberOfTrainingJobs")):
        del config["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    epochs = NAMES if config["Strategy"] == "Hyperband" else ()
    decisive: list[Any] = [config]
    for one in list_definitions(request):
        _check_metrics(one)
        static = one.get("StaticHyperParameters", {})
        decisive += [one.get(name) for name in ("TuningObjective", "HyperParameterRanges")]
        decisive += [one["AlgorithmSpecification"].get("MetricDefinitions"), [static.get(name) for name in epochs]]
    if _is_known(decisive):
        known = {name: value for name, value in request.items() if name != "WarmStartConfig"}
        read_plan({**known, "HyperParameterTuningJobConfig": config})


_CHECKS: Mapping[str, Callable[[Request], object]] = {
    "CreateTrainingJob": _check_training,
    "CreateProcessingJob": check_processing_request,
    "CreateHyperParameterTuningJob": _check_tuning,
}
