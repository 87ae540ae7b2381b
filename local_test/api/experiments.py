"""Operations on experiments, trials and trial components."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from local_test.api.dispatch import Operation, Request
from local_test.api.pagination import filter_items, page, sort_key
from local_test.errors import BadRequest
from local_test.experiments.entities import Entity, EntityStore, Experiments


class ExperimentsApi:
    """The operations over one set of experiments."""

    def __init__(self, experiments: Experiments) -> None:
        self._all = experiments

    def operations(self) -> dict[str, Operation]:
        every = self._all
        return {
            **_common(every.experiments, every.delete_experiment),
            **_common(every.trials, every.delete_trial),
            **_common(every.components, every.delete_component),
            "ListExperiments": lambda request: _list(every.experiments, every.experiments.all(), request),
            "ListTrials": self._list_trials,
            "ListTrialComponents": self._list_components,
            # other than the common ones
            "CreateTrial": lambda request: _arn(every.trials, every.create_trial(request)),
            "DescribeTrialComponent": lambda request: every.describe_component(
                every.components.get(request["TrialComponentName"])
            ),
            "UpdateTrialComponent": self._update_component,
            "AssociateTrialComponent": lambda request: self._change_both(every.associate, request),
            "DisassociateTrialComponent": lambda request: self._change_both(every.disassociate, request),
        }

    def _list_trials(self, request: Request) -> Mapping[str, Any]:
        component, name = request.get("TrialComponentName"), request.get("ExperimentName")
        matching = self._all.find_trials(component) if component else self._all.trials.all()
        if name:
            name = self._all.experiments.name(name)
        return _list(
            self._all.trials, [trial for trial in matching if name in (None, trial["ExperimentName"])], request
        )

    def _change_both(self, change: Callable[[str, str], tuple[Entity, Entity]], request: Request) -> Mapping[str, Any]:
        component, trial = change(request["TrialComponentName"], request["TrialName"])
        return {**_arn(self._all.components, component), **_arn(self._all.trials, trial)}

    def _update_component(self, request: Request) -> Mapping[str, Any]:
        """Merges maps key by key and removes the keys that the request names, if they exist."""
        maps = ("Parameters", "InputArtifacts", "OutputArtifacts")

        def change(entity: Entity) -> None:
            for name in maps:
                merged = {**entity.get(name, {}), **request.get(name, {})}
                for key in request.get(f"{name}ToRemove", []):
                    merged.pop(key, None)
                entity[name] = merged
            plain = ("DisplayName", "Status", "StartTime", "EndTime")
            entity.update({name: value for name, value in _parse_times(request).items() if name in plain})

        return _arn(self._all.components, self._all.components.change(request["TrialComponentName"], change))

    def _list_components(self, request: Request) -> Mapping[str, Any]:
        filters = [name for name in ("ExperimentName", "TrialName", "SourceArn") if name in request]
        if len(filters) > 1:
            raise BadRequest(f"Trial components are listed by one of these. Received: {', '.join(filters)}")
        matching = self._all.components.all()
        if "SourceArn" in request:  # as it is looked for, an ARN in lower case
            source = request["SourceArn"].lower()
            matching = [item for item in matching if item.get("Source", {}).get("SourceArn", "").lower() == source]
        elif filters:
            names = self._names_in(filters[0], request)
            matching = [item for item in matching if item["TrialComponentName"] in names]
        return _list(self._all.components, matching, request)

    def _names_in(self, member: str, request: Request) -> set[str]:
        """The components of a trial, or of all trials of an experiment."""
        kind = self._all.experiments if member == "ExperimentName" else self._all.trials
        wanted = kind.name(request[member])
        return {name for trial in self._all.trials.all() if trial[member] == wanted for name in trial["Components"]}


def _common(kind: EntityStore, delete: Callable[[str], Entity]) -> dict[str, Operation]:
    """The operations that every kind has."""
    name = f"{kind.what}Name"
    return {
        f"Create{kind.what}": lambda request: _arn(kind, kind.create(_parse_times(request))),
        f"Describe{kind.what}": lambda request: kind.get(request[name]),
        f"Update{kind.what}": lambda request: _update(kind, request),
        f"Delete{kind.what}": lambda request: _arn(kind, delete(request[name])),
    }


def _parse_times(request: Request) -> Request:
    """The request with its epoch seconds as datetimes."""
    times = [name for name in ("StartTime", "EndTime") if name in request]
    return {**request, **{name: datetime.fromtimestamp(request[name], UTC) for name in times}}


def _arn(kind: EntityStore, entity: Entity) -> Mapping[str, Any]:
    return {f"{kind.what}Arn": entity[f"{kind.what}Arn"]}


def _update(kind: EntityStore, request: Request) -> Mapping[str, Any]:
    changes = {name: value for name, value in request.items() if name != f"{kind.what}Name"}
    return _arn(kind, kind.change(request[f"{kind.what}Name"], lambda entity: entity.update(changes)))


def _list(kind: EntityStore, matching: list[Entity], request: Request) -> Mapping[str, Any]:
    """One page of summaries, newest first by default, as on the service."""
    name = f"{kind.what}Name"
    on_page, more = page(
        filter_items(matching, request, name, name), request, sort_key(request, name, name), "Descending"
    )
    members = (
        *(name, f"{kind.what}Arn", "DisplayName", "Status", "StartTime", "EndTime"),
        *("CreationTime", "CreatedBy", "LastModifiedTime", "LastModifiedBy"),
    )
    summaries = [
        {
            **{member: item[member] for member in members if member in item},
            **({f"{kind.what}Source": item["Source"]} if "Source" in item else {}),
        }
        for item in on_page
    ]
    return {f"{kind.what}Summaries": summaries, **more}
