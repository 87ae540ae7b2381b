"""Search over jobs, experiments, trials and trial components, and what properties they have; moto answers Search for
what it stores, as far as it can.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_test.api.dispatch import NotHandled, Operation, Request
from local_test.api.pagination import page
from local_test.errors import BadRequest
from local_test.executions.manager import ExecutionManager
from local_test.experiments.entities import EntityStore, Experiments
from local_test.experiments.search_filter import Entity, known_name, matches, sort_key, with_known_names
from local_test.request.validation import service_model
from local_test.training.job_queue import JobQueue
from local_test.tuning.job_manager import TuningJobManager

_MOTOS = ("ModelPackage", "ModelPackageGroup", "FeatureGroup", "Endpoint", "Project")
_MOTOS_OPERATORS = ("Equals", "NotEquals", "Contains")
_SUGGESTIONS = 100


class SearchApi:
    """For each kind: its member in a result, its shape in botocore's model, and all its entities."""

    def __init__(
        self,
        jobs: JobQueue,
        tunings: TuningJobManager,
        experiments: Experiments,
        pipelines: EntityStore,
        executions: ExecutionManager,
    ) -> None:
        self._experiments = experiments
        self._kinds: Mapping[str, tuple[str, str, Callable[[], Iterator[Entity]]]] = {
            "TrainingJob": ("TrainingJob", "TrainingJob", lambda: _add_tags(jobs, jobs.all(), "TrainingJobName")),
            "HyperParameterTuningJob": (
                "HyperParameterTuningJob",
                "HyperParameterTuningJobSearchEntity",
                lambda: _add_tags(tunings, tunings.all(), "HyperParameterTuningJobName"),
            ),
            "Pipeline": ("Pipeline", "Pipeline", lambda: iter(pipelines.all())),
            "PipelineExecution": (
                "PipelineExecution",
                "PipelineExecution",
                lambda: ({**one.describe(), "PipelineParameters": one.list_parameters()} for one in executions.all()),
            ),
            "Experiment": ("Experiment", "Experiment", lambda: iter(experiments.experiments.all())),
            "ExperimentTrial": ("Trial", "Trial", self._trials),
            "ExperimentTrialComponent": ("TrialComponent", "TrialComponent", self._components),
        }

    def operations(self) -> dict[str, Operation]:
        return {"Search": self._search, "GetSearchSuggestions": self._suggest}

    def _search(self, request: Request) -> Mapping[str, Any]:
        if request["Resource"] not in self._kinds:
            self._check_for_moto(request)
            raise NotHandled
        member, shape, everything = self._kinds[request["Resource"]]
        model = service_model().shape_for(shape)
        sort_by = known_name(request.get("SortBy", "LastModifiedTime"), model)
        expression = with_known_names(request.get("SearchExpression", {}), model)
        matching = [entity for entity in everything() if matches(entity, expression)]
        on_page, more = page(matching, request, sort_key(sort_by, f"{member}Arn"), "Descending")
        results = [{member: {name: item for name, item in one.items() if name in model.members}} for one in on_page]
        return {"Results": results, "TotalHits": {"Value": len(matching), "Relation": "EqualTo"}, **more}

    def _check_for_moto(self, request: Mapping[str, Any]) -> None:
        """BadRequest for what moto would answer as if it had not been asked, or with what is not so."""
        resource, expression = request["Resource"], request.get("SearchExpression", {})
        if resource not in _MOTOS:
            raise BadRequest(
                f"The local platform does not search for this. Received: {resource}. "
                f"Expected: {', '.join((*self._kinds, *_MOTOS))}"
            )
        filters = expression.get("Filters", [])
        tags = [one for one in filters if one["Name"].startswith("Tags.")]
        plain = all(one.get("Operator") in _MOTOS_OPERATORS and "Value" in one for one in filters)
        if not plain or set(expression) - {"Filters"} or "SortBy" in request or (tags and len(filters) > 1):
            raise BadRequest(
                f"{resource} is searched by Filters with {', '.join(_MOTOS_OPERATORS)} alone here, a tag by Equals and "
                f"alone. Received: {json.dumps({**expression, 'SortBy': request.get('SortBy')}, default=str)[:300]}"
            )
        if any(one["Operator"] != "Equals" for one in tags):
            raise BadRequest(f"{resource} is searched for a tag by Equals here. Received: {tags[0]['Operator']}")

    def _suggest(self, request: Request) -> Mapping[str, Any]:
        """Names of properties that begin with the hint: those of the kind, and those that its entities have."""
        if request["Resource"] not in self._kinds:
            raise BadRequest(
                f"The local platform suggests nothing for this. Received: {request['Resource']}. "
                f"Expected: {', '.join(self._kinds)}"
            )
        _, shape, everything = self._kinds[request["Resource"]]
        hint = request.get("SuggestionQuery", {}).get("PropertyNameQuery", {}).get("PropertyNameHint", "")
        members = service_model().shape_for(shape).members
        found = {
            path
            for entity in everything()
            for path in _paths({name: entity[name] for name in members if name in entity}, "")
        }
        names = sorted(name for name in {*members, *found} if name.startswith(hint))
        return {"PropertyNameSuggestions": [{"PropertyName": name} for name in names[:_SUGGESTIONS]]}

    def _trials(self) -> Iterator[Entity]:
        components = {item["TrialComponentName"]: item for item in self._experiments.components.all()}
        for trial in self._experiments.trials.all():
            parts = [components[name] for name in trial["Components"] if name in components]
            yield {**trial, "TrialComponentSummaries": [_summarize(part) for part in parts]}

    def _components(self) -> Iterator[Entity]:
        parents = self._experiments.parents()
        for item in self._experiments.components.all():
            parents_of_it = parents.get(item["TrialComponentName"], [])
            yield {**self._experiments.describe_component(item), "Parents": parents_of_it}


def _paths(value: Any, at: str) -> Iterator[str]:
    """The dotted name of everything in an entity by which it can be searched."""
    if at in ("Tags", "Metrics", "FinalMetricDataList"):
        key, kind = ("Key", "Tags") if at == "Tags" else ("MetricName", "Metrics")
        yield from (f"{kind}.{item[key]}" for item in value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _paths(item, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, at)
    else:
        yield at


def _summarize(component: Entity) -> Entity:
    members = ("TrialComponentName", "TrialComponentArn", "CreationTime", "CreatedBy")
    source = {"TrialComponentSource": component["Source"]} if "Source" in component else {}
    return {**{name: component[name] for name in members}, **source}


def _add_tags(registry: JobQueue | TuningJobManager, jobs: list[dict[str, Any]], name: str) -> Iterator[Entity]:
    for job in jobs:
        yield {**job, "Tags": registry.change_tags(job[name], list)}
