"""AddTags, ListTags, DeleteTags for the resources kept here; those of any other resource are moto's."""

from collections.abc import Mapping
from typing import Any

from local_test.api import NotOurs, Operation
from local_test.api.listing import page
from local_test.errors import BadRequest
from local_test.jobs import Jobs

_LIMIT = 50  # tags a resource, on the service
_PAGE = 50

Tag = Mapping[str, str]


class Tags:
    """Tags of training jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def operations(self) -> dict[str, Operation]:
        return {"AddTags": self._add, "ListTags": self._list, "DeleteTags": self._delete}

    def _add(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002 - an Operation
        new = {tag["Key"]: tag for tag in request["Tags"]}

        def change(tags: list[Tag]) -> list[Tag]:
            merged = list({**{tag["Key"]: tag for tag in tags}, **new}.values())
            if len(merged) > _LIMIT:
                raise BadRequest(f"A resource has at most {_LIMIT} tags. Received: {len(merged)} with the ones it has")
            return merged

        return {"Tags": self._jobs.change_tags(_name(request), change)}

    def _list(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002
        tags = self._jobs.change_tags(_name(request), list)
        shown, more = page(tags, {"MaxResults": _PAGE, **request}, lambda tag: (tag["Key"],))
        return {"Tags": shown, **more}

    def _delete(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002
        keys = request["TagKeys"]
        self._jobs.change_tags(_name(request), lambda tags: [tag for tag in tags if tag["Key"] not in keys])
        return {}


def _name(request: Mapping[str, Any]) -> str:
    """The job's name as its ARN has it: in lower case."""
    resource = request["ResourceArn"].rpartition(":")[2]
    kind, _, name = resource.partition("/")
    if kind != "training-job":
        raise NotOurs
    return name
