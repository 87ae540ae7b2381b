"""Lineage: artifacts, contexts and actions, and what is associated with what. On disk as experiments are."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, ResourceNotFound
from local_test.experiments.entities import Entity, EntityStore, Members
from local_test.request.validation import service_model
from local_test.training.job_store import parse, put_aside
from local_test.util.atomic_files import DAMAGE, write_json

Association = Mapping[str, Any]  # an AssociationSummary without names and types


class Lineage:
    """A directed graph whose vertices are the three kinds and trial components. Safe for threads."""

    def __init__(self, root: Path, region: str, components: EntityStore, now: Callable[[], datetime]) -> None:
        self.artifacts = EntityStore(root / "artifact", "Artifact", "artifact", region, now, key="ArtifactId")
        self.contexts = EntityStore(root / "context", "Context", "context", region, now)
        self.actions = EntityStore(root / "action", "Action", "action", region, now)
        self.stores = {store.resource: store for store in (self.artifacts, self.contexts, self.actions, components)}
        self._path, self._now, self._lock = root / "associations.json", now, threading.RLock()
        self._associations: dict[tuple[str, str], Association] = {}
        try:
            found = json.loads(self._path.read_text()) if self._path.exists() else []
            found = parse(found, service_model().shape_for("AssociationSummaries"))
            self._associations = {_ends(item): item for item in found}
        except DAMAGE as error:
            put_aside(self._path, error)

    def create_artifact(self, members: Members) -> Entity:
        """BadRequest if there is one of that source, which is what an artifact's ARN stands for."""
        return self.artifacts.create({**members, "ArtifactId": artifact_id(members["Source"])})

    def delete(self, store: EntityStore, name: str) -> Entity:
        with self._lock:
            arn = store.get(name)[f"{store.what}Arn"]
            if any(arn in ends for ends in self._associations):
                raise BadRequest(f"{store.what} '{arn}' still has associations. Delete them first")
            return store.delete(name)

    def entity(self, arn: str) -> tuple[EntityStore, Entity]:
        """ResourceNotFound if nothing here has that ARN."""
        store = self.stores.get(arn.rpartition(":")[2].partition("/")[0])
        if store:
            entity = store.get(arn)
            if entity[f"{store.what}Arn"] == arn.lower():
                return store, entity
        raise ResourceNotFound(f"Resource '{arn}' does not exist.")

    def associate(self, source: str, destination: str, kind: str | None) -> None:
        """BadRequest if they are associated already."""
        with self._lock:
            for arn in (source, destination):
                self.entity(arn)
            if (source, destination) in self._associations:
                raise BadRequest(f"Association between '{source}' and '{destination}' already exists.")
            ends = {"SourceArn": source, "DestinationArn": destination}
            named = {"AssociationType": kind} if kind else {}
            self._keep({**self._associations, (source, destination): {**ends, **named, "CreationTime": self._now()}})

    def disassociate(self, source: str, destination: str) -> None:
        with self._lock:
            if (source, destination) not in self._associations:
                raise ResourceNotFound(f"Association between '{source}' and '{destination}' does not exist.")
            self._keep({ends: item for ends, item in self._associations.items() if ends != (source, destination)})

    def associations(self) -> list[Association]:
        with self._lock:
            return list(self._associations.values())

    def reach(self, starts: Iterable[str], direction: str, depth: int) -> tuple[list[str], list[Association]]:
        """ARNs within `depth` associations of the starts, these first, and the associations on the way. `direction`:
        Ascendants, Descendants or Both."""
        found, edges, border = dict.fromkeys(starts), dict[tuple[str, str], Association](), set(starts)
        for _ in range(depth):
            steps = list(self._steps(border, direction))
            edges.update({_ends(item): item for _, item in steps})
            border = {arn for arn, _ in steps} - set(found)
            found.update(dict.fromkeys(sorted(border)))
        return list(found), list(edges.values())

    def _steps(self, border: set[str], direction: str) -> Iterator[tuple[str, Association]]:
        for item in self.associations():
            if direction != "Ascendants" and item["SourceArn"] in border:
                yield item["DestinationArn"], item
            if direction != "Descendants" and item["DestinationArn"] in border:
                yield item["SourceArn"], item

    def _keep(self, associations: dict[tuple[str, str], Association]) -> None:
        write_json(self._path, list(associations.values()))
        self._associations = associations


def artifact_id(source: Mapping[str, Any]) -> str:
    """Of one source always the same."""
    return hashlib.md5(json.dumps(source, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _ends(association: Association) -> tuple[str, str]:
    return association["SourceArn"], association["DestinationArn"]
