"""Warm start: the results of earlier tuning jobs, and what a new tuning job may change."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_test.errors import BadRequest, ResourceNotFound
from local_test.request.defaults import fill_tuning_job
from local_test.training.job_status import FINAL_STATUSES
from local_test.util.numbers import number

OBJECTIVE = "_tuning_objective_metric"  # a hyperparameter of every child
FINAL_OBJECTIVE = "FinalHyperParameterTuningJobObjectiveMetric"
TuningRecord = tuple[dict[str, Any], list[dict[str, Any]]]  # a tuning job and the summaries of its training jobs
FindTuningJob = Callable[[str], TuningRecord]
MOST_JOBS = 750  # of a tuning job, its parents' included
_CHANGES = 10
# what of a definition may differ from the parent's, in the service's order
_CHANGEABLE = (
    "AlgorithmSpecification", "InputDataConfig", "OutputDataConfig", "StaticHyperParameters", "RoleArn",
    "ResourceConfig", "StoppingCondition", "VpcConfig", "EnableManagedSpotTraining", "CheckpointConfig",
)  # fmt: skip
_COMPARED_APART = ("TuningObjective", "HyperParameterRanges", "HyperParameterTuningResourceConfig")


class TuningJobNotFound(ResourceNotFound):
    """In the service's words."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Amazon SageMaker can't find a tuning job called {name}. Type another name.")


def list_definitions(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The training job definitions of a request or description, each with its own objective and ranges."""
    config, one = request["HyperParameterTuningJobConfig"], request.get("TrainingJobDefinition")
    if not one:
        return list(request.get("TrainingJobDefinitions", []))
    own = {"TuningObjective": config.get("HyperParameterTuningJobObjective")}
    own["HyperParameterRanges"] = config.get("ParameterRanges")
    return [{**one, **{name: value for name, value in own.items() if value}}]


def read_parents(request: Mapping[str, Any], find: FindTuningJob, max_jobs: int) -> list[TuningRecord]:
    """The parent tuning jobs that the request names. BadRequest for what the service refuses."""
    config = request.get("WarmStartConfig")
    if not config:
        return []
    if request["HyperParameterTuningJobConfig"]["Strategy"] not in ("Bayesian", "Random"):
        raise BadRequest("WarmStartConfig is for the strategies Bayesian and Random")
    names = [item["HyperParameterTuningJobName"] for item in config["ParentHyperParameterTuningJobs"]]
    if len(set(names)) < len(names):
        raise BadRequest(f"ParentHyperParameterTuningJobs must be different ones. Received: {', '.join(names)}")
    parents = [_find_parent(name, find) for name in names]
    total = max_jobs + sum(len(children) for _, children in parents)
    if total > MOST_JOBS:
        raise BadRequest(f"A tuning job and its parents make at most {MOST_JOBS} training jobs. Received: {total}")
    for parent, _ in parents:
        for definition in list_definitions(fill_tuning_job(request)):  # as the parent's description is
            _check(definition, _find_same(definition, parent), config["WarmStartType"] == "IdenticalDataAndAlgorithm")
    return parents


def _find_parent(name: str, find: FindTuningJob) -> TuningRecord:
    parent = find(name)
    status = parent[0]["HyperParameterTuningJobStatus"]
    if status not in FINAL_STATUSES:
        raise BadRequest(
            f"A parent tuning job must be over. Received: {name}, which is {status}. "
            f"Expected: {', '.join(FINAL_STATUSES)}"
        )
    return parent


def _find_same(definition: Mapping[str, Any], parent: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parent's definition of the same name."""
    name = definition.get("DefinitionName")
    for other in list_definitions(parent):
        if other.get("DefinitionName") == name:
            return other
    raise BadRequest(
        "A parent tuning job must have the same training job definitions. "
        f"Received: {name or 'a single one'}, which {parent['HyperParameterTuningJobName']} has not"
    )


def _check(new: Mapping[str, Any], old: Mapping[str, Any], identical: bool) -> None:
    objective, before = new.get("TuningObjective"), old.get("TuningObjective")
    if objective != before:
        raise BadRequest(
            f"The objective metric must be the same as that of the parent tuning jobs. Received: {objective}. "
            f"Expected: {before}"
        )
    if _names(new) != _names(old):  # the service's words
        raise BadRequest(
            "The set of tunable plus static HyperParameter names is not the same across current and parent tuning jobs."
            " Please ensure this set is constant when warm starting. Note that previously static HyperParameters can be"
            f" tuned in warm start jobs and vice versa. Received: {', '.join(sorted(_names(new) ^ _names(old)))}"
        )
    _check_kinds(new, old)
    _check_fields(new, old, identical)
    changes = _count_changes(new, old)
    if changes > _CHANGES:
        raise BadRequest(f"Static hyperparameters may have at most {_CHANGES} changes. Received: {changes}")


def _static(definition: Mapping[str, Any]) -> dict[str, str]:
    static = definition.get("StaticHyperParameters", {})
    return {name: value for name, value in static.items() if name != OBJECTIVE}


def _ranges(definition: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """name → (IntegerParameterRanges or another kind, the range)."""
    ranges = definition.get("HyperParameterRanges", {})
    return {item["Name"]: (kind, item) for kind, items in ranges.items() for item in items}


def _names(definition: Mapping[str, Any]) -> set[str]:
    return {*_static(definition), *_ranges(definition)}


def _check_kinds(new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    before = _ranges(old)
    for name, (kind, _) in _ranges(new).items():
        if name in before and before[name][0] != kind:
            raise BadRequest(
                f"The type of a hyperparameter must be that of the parent tuning jobs. Received: {name} in {kind}. "
                f"Expected: {before[name][0]}"
            )


def _check_fields(new: Mapping[str, Any], old: Mapping[str, Any], identical: bool) -> None:
    changed = [name for name in sorted({*new, *old} - {*_COMPARED_APART}) if new.get(name) != old.get(name)]
    if other := [name for name in changed if name not in _CHANGEABLE]:
        allowed = ", ".join(name[0].lower() + name[1:] for name in _CHANGEABLE)
        raise BadRequest(  # the service's words
            f"Only the following fields in TrainingJobDefinition are allowed to change: [{allowed}]. "
            f"Received: {', '.join(other)}"
        )
    image = "AlgorithmSpecification.TrainingImage"
    images = [item["AlgorithmSpecification"].get("TrainingImage") for item in (new, old)]
    differ = [*([image] if images[0] != images[1] else []), *[name for name in changed if name == "InputDataConfig"]]
    if identical and differ:
        raise BadRequest(
            "IdenticalDataAndAlgorithm needs the image and the input data of the parent tuning jobs. "
            f"Received: another {' and another '.join(differ)}. Use TransferLearning"
        )


def _count_changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> int:
    """As the developer guide counts: each value of a categorical hyperparameter counts for itself."""
    count, ranges, static = 0, _ranges(old), _static(old)
    for name, value in _static(new).items():
        if name in ranges:
            count += len(ranges[name][1].get("Values", [None]))
        elif static[name] != value:
            count += 2 if None in (number(value), number(static[name])) else 1
    return count


def list_observations(
    parents: list[TuningRecord], definition: Mapping[str, Any]
) -> Iterator[tuple[dict[str, str], float, dict[str, Any]]]:
    """(hyperparameters, objective, summary) of the parents' training jobs of this definition that have an objective.

    Not recursive, as on the service: the results of the parents' own parents are not included.
    """
    name = definition.get("DefinitionName")
    for parent, children in parents:
        static = _static(_find_same(definition, parent))
        for child in children:
            if FINAL_OBJECTIVE in child and child.get("TrainingJobDefinitionName") == name:
                summary = {**child, "TuningJobName": parent["HyperParameterTuningJobName"]}
                yield {**static, **child["TunedHyperParameters"]}, child[FINAL_OBJECTIVE]["Value"], summary
