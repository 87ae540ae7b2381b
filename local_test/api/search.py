"""Search over jobs, experiments, trials and trial components; moto answers it for other resources."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_test.api.dispatch import NotHandled, Operation
from local_test.api.pagination import page
from local_test.experiments.entities import Experiments
from local_test.experiments.search_filter import Entity, check_properties, check_property, matches, sort_key
from local_test.request.validation import service_model
from local_test.training.job_queue import JobQueue
from local_test.tuning.job_manager import TuningJobManager


class SearchApi:
    """For each kind: its member in a result, its shape in botocore's model, and all its entities."""

    def __init__(self, jobs: JobQueue, tunings: TuningJobManager, experiments: Experiments) -> None:
        self._experiments = experiments
        self._kinds: Mapping[str, tuple[str, str, Callable[[], Iterator[Entity]]]] = {
            "TrainingJob": ("TrainingJob", "TrainingJob", lambda: _add_tags(jobs, jobs.all(), "TrainingJobName")),
            "HyperParameterTuningJob": (
                "HyperParameterTuningJob",
                "HyperParameterTuningJobSearchEntity",
                lambda: _add_tags(tunings, tunings.all(), "HyperParameterTuningJobName"),
            ),
            "Experiment": ("Experiment", "Experiment", lambda: iter(experiments.experiments.all())),
            "ExperimentTrial": ("Trial", "Trial", self._trials),
            "ExperimentTrialComponent": ("TrialComponent", "TrialComponent", self._components),
        }

    def operations(self) -> dict[str, Operation]:
        return {"Search": self._search}

    def _search(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002 - an Operation
        if request["Resource"] not in self._kinds:
            raise NotHandled
        member, shape, everything = self._kinds[request["Resource"]]
        model, sort_by = service_model().shape_for(shape), request.get("SortBy", "LastModifiedTime")
        check_properties(request.get("SearchExpression", {}), model)
        check_property(sort_by, model)
        matching = [entity for entity in everything() if matches(entity, request.get("SearchExpression", {}))]
        ordered = {"SortOrder": "Descending", **request}
        on_page, more = page(matching, ordered, sort_key(sort_by, f"{member}Name"))
        results = [{member: {name: item for name, item in one.items() if name in model.members}} for one in on_page]
        return {"Results": results, "TotalHits": {"Value": len(matching), "Relation": "EqualTo"}, **more}

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


def _summarize(component: Entity) -> Entity:
    members = ("TrialComponentName", "TrialComponentArn", "CreationTime", "CreatedBy")
    source = {"TrialComponentSource": component["Source"]} if "Source" in component else {}
    return {**{name: component[name] for name in members}, **source}


def _add_tags(registry: JobQueue | TuningJobManager, jobs: list[dict[str, Any]], name: str) -> Iterator[Entity]:
    for job in jobs:
        yield {**job, "Tags": registry.change_tags(job[name], list)}
