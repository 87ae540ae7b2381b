"""AddTags, ListTags, DeleteTags for the resources kept here; moto answers for other resources."""

from collections.abc import Callable, Mapping
from typing import Any

from local_test.api.dispatch import NotHandled, Operation, Request
from local_test.api.pagination import page
from local_test.errors import BadRequest
from local_test.experiments.entities import EntityStore, Experiments
from local_test.experiments.lineage import Lineage
from local_test.request.job_kind import PROCESSING, TRAINING, TUNING
from local_test.training.job_queue import JobQueue
from local_test.training.job_store import Tag
from local_test.tuning.job_manager import TuningJobManager

_LIMIT = 50  # tags a resource, on the service
_PAGE = 50


class TagsApi:
    """Tags of jobs, pipelines, experiments, trials, their components, artifacts, contexts and actions."""

    def __init__(
        self,
        jobs: JobQueue,
        tunings: TuningJobManager,
        processing_jobs: JobQueue,
        pipelines: EntityStore,
        experiments: Experiments,
        lineage: Lineage,
    ) -> None:
        self._kinds = {
            TRAINING.resource: jobs.change_tags,
            PROCESSING.resource: processing_jobs.change_tags,
            TUNING.resource: tunings.change_tags,
            "pipeline": pipelines.change_tags,
            "experiment": experiments.experiments.change_tags,
            "experiment-trial": experiments.trials.change_tags,
            **{resource: store.change_tags for resource, store in lineage.stores.items()},
        }

    def operations(self) -> dict[str, Operation]:
        return {"AddTags": self._add, "ListTags": self._list, "DeleteTags": self._delete}

    def _add(self, request: Request) -> Mapping[str, Any]:
        new = {tag["Key"]: tag for tag in request["Tags"]}

        def change(tags: list[Tag]) -> list[Tag]:
            merged = list({**{tag["Key"]: tag for tag in tags}, **new}.values())
            if len(merged) > _LIMIT:
                raise BadRequest(f"A resource has at most {_LIMIT} tags. Received: {len(merged)} with the ones it has")
            return merged

        return {"Tags": self._change(request, change)}

    def _list(self, request: Request) -> Mapping[str, Any]:
        tags = self._change(request, list)
        on_page, more = page(tags, {"MaxResults": _PAGE, **request}, lambda tag: (tag["Key"],))
        return {"Tags": on_page, **more}

    def _delete(self, request: Request) -> Mapping[str, Any]:
        keys = request["TagKeys"]
        self._change(request, lambda tags: [tag for tag in tags if tag["Key"] not in keys])
        return {}

    def _change(self, request: Mapping[str, Any], change: Callable[[list[Tag]], list[Tag]]) -> list[Tag]:
        """An ARN has the job's name in lower case."""
        kind, _, name = request["ResourceArn"].rpartition(":")[2].partition("/")
        if kind not in self._kinds:
            raise NotHandled
        return self._kinds[kind](name, change)
