"""Operations on lineage: artifacts, contexts, actions, associations and the query that follows them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from local_test.api.dispatch import Operation, Request
from local_test.api.pagination import filter_items, page, sort_key, within_times
from local_test.errors import BadRequest, ResourceNotFound
from local_test.experiments.entities import Entity, EntityStore
from local_test.experiments.lineage import Lineage, artifact_id

_SUMMARY = ("Source", "Status", "CreationTime", "LastModifiedTime")
_PLAIN = ("ArtifactName", "Description", "Status")  # members that an update replaces
_MAX_DEPTH = 10


class LineageApi:
    """The operations over one graph."""

    def __init__(self, lineage: Lineage) -> None:
        self._all = lineage

    def operations(self) -> dict[str, Operation]:
        operations: dict[str, Operation] = {
            "AddAssociation": self._associate,
            "DeleteAssociation": self._disassociate,
            "ListAssociations": self._list_associations,
            "QueryLineage": self._query,
        }
        for store in (self._all.artifacts, self._all.contexts, self._all.actions):
            for verb, call in (
                ("Create", self._create), ("Describe", _describe), ("Update", _update), ("Delete", self._delete),
            ):  # fmt: skip
                operations[f"{verb}{store.what}"] = partial(call, store)
            operations[f"List{store.what}s"] = partial(_list, store)
        return operations

    def _create(self, store: EntityStore, request: Request) -> Mapping[str, Any]:
        create = self._all.create_artifact if store is self._all.artifacts else store.create
        return _arn(store, create(request))

    def _delete(self, store: EntityStore, request: Request) -> Mapping[str, Any]:
        return _arn(store, self._all.delete(store, _name(store, request)))

    def _associate(self, request: Request) -> Mapping[str, Any]:
        self._all.associate(request["SourceArn"], request["DestinationArn"], request.get("AssociationType"))
        return request

    def _disassociate(self, request: Request) -> Mapping[str, Any]:
        self._all.disassociate(request["SourceArn"], request["DestinationArn"])
        return request

    def _list_associations(self, request: Request) -> Mapping[str, Any]:
        wanted = ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
        summaries = [
            {**item, **self._describe_end(item, "Source"), **self._describe_end(item, "Destination")}
            for item in self._all.associations()
        ]
        matching = [
            item
            for item in summaries
            if within_times(item, request) and all(request.get(name) in (None, item.get(name)) for name in wanted)
        ]
        by = request.get("SortBy", "CreationTime")

        def key(item: Mapping[str, Any]) -> tuple[Any, ...]:
            value = item[by].timestamp() if by == "CreationTime" else item.get(by, "")
            return value, item["SourceArn"], item["DestinationArn"]

        on_page, more = page(matching, request, key, "Descending")
        return {"AssociationSummaries": on_page, **more}

    def _describe_end(self, association: Mapping[str, Any], end: str) -> Mapping[str, str]:
        """Name and type of one of its entities, which may be deleted."""
        try:
            store, entity = self._all.entity(association[f"{end}Arn"])
        except ResourceNotFound:
            return {}
        name = f"{store.what}Name"  # an artifact may have none
        return {f"{end}Type": _type(store, entity), **({f"{end}Name": entity[name]} if name in entity else {})}

    def _query(self, request: Request) -> Mapping[str, Any]:
        starts = request.get("StartArns", [])
        if not starts:
            raise BadRequest("StartArns is missing: the ARNs of artifacts, contexts, actions or trial components")
        for arn in starts:
            self._all.entity(arn)
        arns, edges = self._all.reach(starts, request.get("Direction", "Both"), request.get("MaxDepth", _MAX_DEPTH))
        filters = request.get("Filters", {})
        vertices = [vertex for arn in arns if (vertex := self._vertex(arn, filters))]
        on_page, more = page(vertices, {"MaxResults": len(vertices) or 1, **request}, lambda item: (item["Arn"],))
        members = ("SourceArn", "DestinationArn", "AssociationType")
        shown = [{name: item[name] for name in members if name in item} for item in edges]
        return {"Vertices": on_page, **({"Edges": shown} if request.get("IncludeEdges", True) else {}), **more}

    def _vertex(self, arn: str, filters: Mapping[str, Any]) -> Mapping[str, str] | None:
        """None if the filters leave it out."""
        try:
            store, entity = self._all.entity(arn)
        except ResourceNotFound:
            return None
        kind = _type(store, entity)
        passes = (
            kind in filters.get("Types", [kind])
            and store.what in filters.get("LineageTypes", [store.what])
            and filters.get("Properties", {}).items() <= entity.get("Properties", {}).items()
            and within_times(entity, filters)
        )
        return {"Arn": arn, "Type": kind, "LineageType": store.what} if passes else None


def _type(store: EntityStore, entity: Entity) -> str:
    """Of a trial component: what it is the component of."""
    default = "SageMakerExperimentTrialComponent"
    kind: str = entity.get(f"{store.what}Type") or entity.get("Source", {}).get("SourceType") or default
    return kind


def _name(store: EntityStore, request: Request) -> str:
    """What finds the entity that the request is about."""
    name: str | None = request.get("ArtifactArn", request.get(f"{store.what}Name"))
    if store.what != "Artifact" or "ArtifactArn" in request:
        return name or ""
    if "Source" not in request:
        raise BadRequest("An artifact is named by ArtifactArn or Source. Received: neither")
    return artifact_id(request["Source"])


def _arn(store: EntityStore, entity: Entity) -> Mapping[str, Any]:
    return {f"{store.what}Arn": entity[f"{store.what}Arn"]}


def _describe(store: EntityStore, request: Request) -> Mapping[str, Any]:
    return store.get(_name(store, request))


def _update(store: EntityStore, request: Request) -> Mapping[str, Any]:
    """Merges the properties and removes those that the request names, if they exist."""

    def change(entity: Entity) -> None:
        removed = request.get("PropertiesToRemove", [])
        merged = {**entity.get("Properties", {}), **request.get("Properties", {})}
        entity["Properties"] = {name: value for name, value in merged.items() if name not in removed}
        entity.update({name: request[name] for name in _PLAIN if name in request})

    return _arn(store, store.change(_name(store, request), change))


def _list(store: EntityStore, request: Request) -> Mapping[str, Any]:
    """The newest first by default, as on the service."""
    kind, uri = request.get(f"{store.what}Type"), request.get("SourceUri")
    matching = [
        item
        for item in store.all()
        if kind in (None, item[f"{store.what}Type"]) and uri in (None, item["Source"]["SourceUri"])
    ]
    found = filter_items(matching, request, store.key, store.key)
    on_page, more = page(found, request, sort_key(request, store.key, store.key), "Descending")
    members = (*(f"{store.what}{part}" for part in ("Arn", "Name", "Type")), *_SUMMARY)
    summaries = [{name: item[name] for name in members if name in item} for item in on_page]
    return {f"{store.what}Summaries": summaries, **more}
