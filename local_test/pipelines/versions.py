"""Pipelines with their versions: an update that changes the definition makes one, which may have aliases."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, ResourceNotFound
from local_test.experiments.entities import Entity, EntityStore, Members
from local_test.util.atomic_files import write_text

TEXT, ID, ALIAS, ALIASES = "PipelineDefinition", "PipelineVersionId", "PipelineVersionAlias", "PipelineVersionAliases"
TOLD = ("PipelineVersionDisplayName", "PipelineVersionDescription", ALIASES)
_VERSIONS = "Versions"  # of a pipeline, the last one the latest; an earlier one's definition is a file of its own
_MOST_ALIASES = 10

Version = dict[str, Any]  # PipelineVersionId, CreationTime in epoch seconds, what of TOLD it has


class PipelineStore(EntityStore):
    """All pipelines of a region."""

    def __init__(self, folder: Path, region: str, now: Callable[[], datetime]) -> None:
        super().__init__(folder, "Pipeline", "pipeline", region, now)

    def add(self, members: Members, aliases: Sequence[str]) -> Entity:
        """With its first version. BadRequest if there is a pipeline of that name."""
        return self.create({**members, _VERSIONS: [self._new_version([], aliases)]})

    def update(self, name: str, changes: Members, aliases: Sequence[str] = ()) -> int:
        """The version that is the latest after it. BadRequest for aliases without a definition that differs."""

        def change(entity: Entity) -> None:
            versions = list_versions(entity)
            if changes.get(TEXT, entity[TEXT]) != entity[TEXT]:
                write_text(self._file(entity, versions[-1][ID]), entity[TEXT])
                entity[_VERSIONS] = [*versions, self._new_version(versions, aliases)]
            elif aliases:
                raise BadRequest(
                    f"{ALIASES} is for an update that changes the pipeline's definition. Received: {', '.join(aliases)}"
                    ". UpdatePipelineVersion changes the aliases of a version that is there"
                )
            entity.update(changes)

        return int(list_versions(self.change(name, change))[-1][ID])

    def update_version(self, name: str, request: Mapping[str, Any]) -> None:
        """As UpdatePipelineVersion says. ResourceNotFound if there is no such version."""

        def change(entity: Entity) -> None:
            versions = list_versions(entity)
            version = find_version(entity, request)
            version.update({member: request[member] for member in TOLD[:2] if member in request})
            operations = request.get("PipelineVersionAliasOperations", {})
            kept = [one for one in version.get(ALIASES, []) if one not in operations.get("Remove", ())]
            others = [one for one in versions if one[ID] != version[ID]]
            version[ALIASES] = [*kept, *_check_aliases(operations.get("Add", ()), others, kept)]
            entity[_VERSIONS] = sorted([*others, version], key=lambda one: int(one[ID]))

        self.change(name, change)

    def at(self, name: str, request: Mapping[str, Any] | None = None) -> Entity:
        """The pipeline as of the version that the request names by its ID or an alias, by default the latest one.
        ResourceNotFound if there is none."""
        entity = self.get(name)
        version = find_version(entity, request or {})
        if version[ID] != list_versions(entity)[-1][ID]:
            try:
                entity[TEXT] = self._file(entity, version[ID]).read_text(encoding="utf-8")
            except FileNotFoundError:
                raise ResourceNotFound(f"The definition of version {version[ID]} is not kept any more") from None
        return {**entity, **version, "CreationTime": entity["CreationTime"]}

    def _file(self, entity: Entity, version: int) -> Path:
        return self.folder(entity[self.key]) / f"definition-{version}.json"

    def _new_version(self, versions: Sequence[Version], aliases: Sequence[str]) -> Version:
        number = versions[-1][ID] + 1 if versions else 1
        known = {ALIASES: _check_aliases(aliases, versions)} if aliases else {}
        return {ID: number, "CreationTime": self._now().timestamp(), **known}


def list_versions(entity: Members) -> list[Version]:
    """The latest one last. A pipeline of an earlier program has that alone."""
    return list(
        entity.get(_VERSIONS) or [{ID: entity.get(ID, 1), "CreationTime": entity["LastModifiedTime"].timestamp()}]
    )


def find_version(entity: Members, request: Mapping[str, Any]) -> Version:
    """The version that PipelineVersionId or PipelineVersionAlias names, by default the latest one. ResourceNotFound if
    there is none."""
    versions, number, alias = list_versions(entity), request.get(ID), request.get(ALIAS)
    if number is not None and alias is not None:
        raise BadRequest(f"A request has {ID} or {ALIAS}, not both. Received: {number} and {alias}")
    if number is None and alias is None:
        return versions[-1]
    for version in versions:
        if version[ID] == number or alias in version.get(ALIASES, ()):
            return version
    raise ResourceNotFound(
        f"Pipeline '{entity['PipelineName']}' has no version {alias or number}. Its latest one is {versions[-1][ID]}"
    )


def _check_aliases(aliases: Sequence[str], others: Sequence[Version], kept: Sequence[str] = ()) -> list[str]:
    """Those that are new to a version. BadRequest by the API's rules: no number, each of one version, at most 10."""
    for alias in aliases:
        if alias.isdigit():
            raise BadRequest(f"An alias of a pipeline version can't consist of numbers only. Received: {alias}")
        if owner := next((one[ID] for one in others if alias in one.get(ALIASES, ())), None):
            raise BadRequest(f"Version {owner} has the alias {alias}. Remove it there first, by UpdatePipelineVersion")
    new = [one for one in dict.fromkeys(aliases) if one not in kept]
    if len(kept) + len(new) > _MOST_ALIASES:
        raise BadRequest(f"A pipeline version has up to {_MOST_ALIASES} aliases. Received: {len(kept) + len(new)}")
    return new
