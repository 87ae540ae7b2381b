"""Operations on experiments, trials and trial components."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from local_test.api import Operation
from local_test.api.listing import created, page, sort_key
from local_test.errors import BadRequest
from local_test.experiments import Entity, Experiments, Kind

Request = dict[str, Any]


class Tracked:
    """The operations over one set of experiments."""

    def __init__(self, experiments: Experiments) -> None:
        self._all = experiments

    def operations(self) -> dict[str, Operation]:
        found = self._experiments() | self._trials() | self._components()
        return {name: _without_region(call) for name, call in found.items()} | {
            "CreateExperiment": lambda request, region: _arn(self._all.experiments, self._create(request, region)),
            "CreateTrial": lambda request, region: _arn(self._all.trials, self._all.create_trial(request, region)),
            "CreateTrialComponent": lambda request, region: _arn(
                self._all.components, self._all.components.create(_timed(request), region)
            ),
        }

    def _create(self, request: Request, region: str) -> Entity:
        return self._all.experiments.create(request, region)

    # Experiments

    def _experiments(self) -> dict[str, Callable[[Request], Mapping[str, Any]]]:
        kind = self._all.experiments
        return {
            "DescribeExperiment": lambda request: kind.get(request["ExperimentName"]),
            "UpdateExperiment": lambda request: _updated(kind, request),
            "DeleteExperiment": lambda request: _arn(kind, self._all.delete_experiment(request["ExperimentName"])),
            "ListExperiments": lambda request: _listed(kind, kind.all(), request),
        }

    # Trials

    def _trials(self) -> dict[str, Callable[[Request], Mapping[str, Any]]]:
        kind = self._all.trials
        return {
            "DescribeTrial": lambda request: kind.get(request["TrialName"]),
            "UpdateTrial": lambda request: _updated(kind, request),
            "DeleteTrial": lambda request: _arn(kind, self._all.delete_trial(request["TrialName"])),
            "ListTrials": self._list_trials,
        }

    def _list_trials(self, request: Request) -> Mapping[str, Any]:
        component, name = request.get("TrialComponentName"), request.get("ExperimentName")
        found = self._all.trials_of(component) if component else self._all.trials.all()
        if name:
            name = self._all.experiments.get(name)["ExperimentName"]
        return _listed(self._all.trials, [trial for trial in found if name in (None, trial["ExperimentName"])], request)

    # Trial components

    def _components(self) -> dict[str, Callable[[Request], Mapping[str, Any]]]:
        kind = self._all.components
        return {
            "DescribeTrialComponent": lambda request: self._all.described(request["TrialComponentName"]),
            "UpdateTrialComponent": self._update_component,
            "DeleteTrialComponent": lambda request: _arn(
                kind, self._all.delete_component(request["TrialComponentName"])
            ),
            "ListTrialComponents": self._list_components,
            "AssociateTrialComponent": lambda request: self._both(
                *self._all.associate(request["TrialComponentName"], request["TrialName"])
            ),
            "DisassociateTrialComponent": lambda request: self._both(
                *self._all.disassociate(request["TrialComponentName"], request["TrialName"])
            ),
        }

    def _both(self, component: Entity, trial: Entity) -> Mapping[str, Any]:
        return {**_arn(self._all.components, component), **_arn(self._all.trials, trial)}

    def _update_component(self, request: Request) -> Mapping[str, Any]:
        """Maps are merged key by key; what is to be removed is, if it is there."""
        maps = ("Parameters", "InputArtifacts", "OutputArtifacts")

        def change(entity: Entity) -> None:
            for name in maps:
                kept = {**entity.get(name, {}), **request.get(name, {})}
                for key in request.get(f"{name}ToRemove", []):
                    kept.pop(key, None)
                entity[name] = kept
            plain = ("DisplayName", "Status", "StartTime", "EndTime")
            entity.update({name: value for name, value in _timed(request).items() if name in plain})

        return _arn(self._all.components, self._all.components.change(request["TrialComponentName"], change))

    def _list_components(self, request: Request) -> Mapping[str, Any]:
        asked = [name for name in ("ExperimentName", "TrialName", "SourceArn") if name in request]
        if len(asked) > 1:
            raise BadRequest(f"Trial components are listed by one of these. Received: {', '.join(asked)}")
        found = [item for item in self._all.components.all() if not asked or self._has(item, asked[0], request)]
        return _listed(self._all.components, found, request)

    def _has(self, component: Entity, member: str, request: Request) -> bool:
        if member == "SourceArn":  # as it is looked for, an ARN in lower case
            return component.get("Source", {}).get("SourceArn", "").lower() == request[member].lower()
        kind = self._all.experiments if member == "ExperimentName" else self._all.trials
        wanted = kind.get(request[member])[member]
        return any(trial[member] == wanted for trial in self._all.trials_of(component["TrialComponentName"]))


def _without_region(call: Callable[[Request], Mapping[str, Any]]) -> Operation:
    return lambda request, region: call(request)  # noqa: ARG005 - an Operation


def _timed(request: Request) -> Request:
    """Times come as epoch seconds."""
    times = {name: datetime.fromtimestamp(request[name], UTC) for name in ("StartTime", "EndTime") if name in request}
    return {**request, **times}


def _arn(kind: Kind, entity: Entity) -> Mapping[str, Any]:
    return {f"{kind.what}Arn": entity[f"{kind.what}Arn"]}


def _updated(kind: Kind, request: Request) -> Mapping[str, Any]:
    changes = {name: value for name, value in request.items() if name != f"{kind.what}Name"}
    return _arn(kind, kind.change(request[f"{kind.what}Name"], lambda entity: entity.update(changes)))


def _listed(kind: Kind, found: list[Entity], request: Request) -> Mapping[str, Any]:
    """Summaries, a page of them: the newest first unless told otherwise, as the service does."""
    name = f"{kind.what}Name"
    asked = {"SortOrder": "Descending", **request}
    shown, more = page([item for item in found if created(item, request)], asked, sort_key(asked, name, name))
    members = (name, f"{kind.what}Arn", "DisplayName", "Status", "StartTime", "EndTime")
    members += ("CreationTime", "CreatedBy", "LastModifiedTime", "LastModifiedBy")
    summaries = [
        {
            **{member: item[member] for member in members if member in item},
            **({f"{kind.what}Source": item["Source"]} if "Source" in item else {}),
        }
        for item in shown
    ]
    return {f"{kind.what}Summaries": summaries, **more}
