"""Experiments, trials and trial components, on disk as jobs are: each has a folder with a describe.json.

A trial component describes a run. Every training job has one; clients create others. Trials group components,
experiments group trials.
"""

import copy
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, ResourceNotFound
from local_test.experiments.metric_store import MetricStore
from local_test.training.job_store import Tag, load, remove
from local_test.util.arns import format_arn
from local_test.util.atomic_files import new_folder, write_json

Entity = dict[str, Any]
Members = Mapping[str, Any]

_FOLDER = "Folder"  # of an entity whose name is too long for one; a pipeline's has up to 256 characters
_LONGEST = 200  # characters of a folder's name; it has 255 bytes, and a prefix while it is deleted


class EntityStore:
    """All entities of one kind: `what` is Experiment, Trial or another. Names are in any case. Safe for threads.

    An entity has the members that its Describe operation shows, its Tags, and what else the platform keeps with it.
    `key`: the member that tells entities apart and that ARNs end in, by default the name. `region`: ARNs name it.
    """

    def __init__(
        self, folder: Path, what: str, resource: str, region: str, now: Callable[[], datetime], key: str | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.what, self.resource, self._region, self._folder, self._now = what, resource, region, folder, now
        self.key = key or f"{what}Name"
        self._lock = threading.RLock()
        found = load(folder, f"Describe{what}")
        self._entities: dict[str, Entity] = {entity[self.key].lower(): entity for entity in found}

    def create(self, members: Members) -> Entity:
        """BadRequest if there is one of that name."""
        name = members[self.key]
        with self._lock:
            if name.lower() in self._entities:
                raise BadRequest(
                    f"{self.what} names must be unique within an AWS account and region. {self.what} with name "
                    f"({name}) already exists."
                )
            now = self._now()
            arn = format_arn(self._region, self.resource, name)
            times = {"CreationTime": now, "CreatedBy": {}, "LastModifiedTime": now, "LastModifiedBy": {}}
            entity = {f"{self.what}Arn": arn, "DisplayName": name, "Tags": [], **copy.deepcopy(dict(members)), **times}
            if len(name) > _LONGEST:
                entity[_FOLDER] = f"{name[:_LONGEST]}-{hashlib.sha256(name.lower().encode()).hexdigest()[:12]}"
            with new_folder(self._path(entity), f"The {self.what}"):
                self._keep(entity)
            return copy.deepcopy(entity)

    def get(self, name: str) -> Entity:
        """A copy, by name or ARN. ResourceNotFound if there is none."""
        with self._lock:
            return copy.deepcopy(self._find(name))

    def name(self, name: str) -> str:
        """The name as given at creation, by a name in any case or an ARN. ResourceNotFound if there is none."""
        with self._lock:
            return self._find(name)[self.key]

    def has(self, name: str) -> bool:
        with self._lock:
            return name.lower() in self._entities

    def all(self) -> list[Entity]:
        """Copies of all."""
        with self._lock:
            return [copy.deepcopy(entity) for entity in self._entities.values()]

    def snapshot(self) -> list[Members]:
        """All as they are, not to be altered. One that changes is another object afterwards."""
        with self._lock:
            return list(self._entities.values())

    def change(self, name: str, change: Callable[[Entity], object]) -> Entity:
        """The entity after `change`, which gets a copy to alter."""
        with self._lock:
            entity = copy.deepcopy(self._find(name))
            change(entity)
            entity["LastModifiedTime"] = self._now()
            self._keep(entity)
            return copy.deepcopy(entity)

    def delete(self, name: str) -> Entity:
        """The deleted entity."""
        with self._lock:
            entity = self._find(name)
            del self._entities[entity[self.key].lower()]
            remove(self._path(entity))
            return entity

    def change_tags(self, name: str, change: Callable[[list[Tag]], list[Tag]]) -> list[Tag]:
        """The tags after `change`, which gets those before."""
        with self._lock:
            before = self.get(name)["Tags"]
            after = change(list(before))
            if after != before:
                self.change(name, lambda entity: entity.update(Tags=after))
            return after

    def folder(self, name: str) -> Path:
        """The folder of an existing entity."""
        with self._lock:
            return self._path(self._find(name))

    def _path(self, entity: Entity) -> Path:
        return self._folder / str(entity.get(_FOLDER, entity[self.key]))

    def _find(self, name: str) -> Entity:
        entity = self._entities.get(name.rpartition("/")[2].lower())
        if entity is None:
            raise ResourceNotFound(f"{self.what} '{name}' does not exist.")
        return entity

    def _keep(self, entity: Entity) -> None:
        write_json(self._path(entity) / "describe.json", entity)
        self._entities[entity[self.key].lower()] = entity


class Experiments:
    """The three kinds and their relations: a trial names its experiment and its components."""

    def __init__(self, root: Path, region: str, now: Callable[[], datetime]) -> None:
        self.experiments = EntityStore(root / "experiment", "Experiment", "experiment", region, now)
        self.trials = EntityStore(root / "trial", "Trial", "experiment-trial", region, now)
        self.components = EntityStore(
            root / "trial-component", "TrialComponent", "experiment-trial-component", region, now
        )
        self._lock = threading.RLock()  # of what takes more than one of them
        self._metric_stores: dict[str, MetricStore] = {}

    def create_trial(self, members: Members) -> Entity:
        with self._lock:
            experiment = self.experiments.name(members["ExperimentName"])
            return self.trials.create({**members, "ExperimentName": experiment, "Components": []})

    def associate(self, component: str, trial: str) -> tuple[Entity, Entity]:
        """(component, trial). Associating twice is allowed."""
        with self._lock:
            item = self.components.get(component)
            name = item["TrialComponentName"]

            def add(entity: Entity) -> None:
                entity["Components"] = [*(other for other in entity["Components"] if other != name), name]

            return item, self.trials.change(trial, add)

    def disassociate(self, component: str, trial: str) -> tuple[Entity, Entity]:
        """(component, trial). ResourceNotFound if they were not associated."""
        with self._lock:
            item = self.components.get(component)
            name = item["TrialComponentName"]
            if name not in self.trials.get(trial)["Components"]:
                raise ResourceNotFound(f"TrialComponent '{name}' is not associated with Trial '{trial}'.")
            return item, self.trials.change(trial, lambda entity: entity["Components"].remove(name))

    def metric_store(self, component: str) -> MetricStore:
        """The metrics of an existing component."""
        with self._lock:
            name = self.components.name(component)
            if name not in self._metric_stores:
                self._metric_stores[name] = MetricStore(self.metrics_file(name))
            return self._metric_stores[name]

    def metrics_file(self, component: str) -> Path:
        """Of an existing component; there is none before its first value."""
        return self.components.folder(component) / "metrics.jsonl"

    def describe_component(self, component: Entity) -> Entity:
        """The component with a summary of its metrics."""
        source = component.get("Source", {}).get("SourceArn", component["TrialComponentArn"])
        return {**component, "Metrics": self.metric_store(component["TrialComponentName"]).summary(source)}

    def find_trials(self, component: str) -> list[Entity]:
        name = self.components.name(component)
        return [trial for trial in self.trials.all() if name in trial["Components"]]

    def parents(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """A component's name → its trials and their experiments."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for trial in self.trials.all():
            for name in trial["Components"]:
                found.setdefault(name, []).append(
                    {"TrialName": trial["TrialName"], "ExperimentName": trial["ExperimentName"]}
                )
        return found

    def delete_experiment(self, name: str) -> Entity:
        with self._lock:
            name = self.experiments.name(name)
            trials = [trial["TrialName"] for trial in self.trials.all() if trial["ExperimentName"] == name]
            if trials:
                raise BadRequest(f"Experiment '{name}' still has trials: {', '.join(trials)}. Delete them first")
            return self.experiments.delete(name)

    def delete_trial(self, name: str) -> Entity:
        with self._lock:
            components = self.trials.get(name)["Components"]
            if components:
                raise BadRequest(
                    f"Trial '{name}' still has components: {', '.join(components)}. Disassociate them first"
                )
            return self.trials.delete(name)

    def delete_component(self, name: str) -> Entity:
        with self._lock:
            trials = [trial["TrialName"] for trial in self.find_trials(name)]
            if trials:
                raise BadRequest(
                    f"TrialComponent '{name}' is part of trials: {', '.join(trials)}. Disassociate it first"
                )
            entity = self.components.delete(name)
            self._metric_stores.pop(entity["TrialComponentName"], None)
            return entity
