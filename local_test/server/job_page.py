"""The page of a command that runs jobs without a server (`--ui` of `train`, `tune`, `pipeline`), at a free port."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Self

from local_test.api.dispatch import Api, Operation
from local_test.page import lists, site
from local_test.request.guard import Guard
from local_test.server.access import Environ
from local_test.server.http import HttpServer, Router
from local_test.server.platform import Region
from local_test.server.refusal import respond
from local_test.training.job import TrainingJob
from local_test.training.job_queue import NotFound

# what the page may do; nothing can be created there
_KINDS = ("TrainingJob", "HyperParameterTuningJob", "ProcessingJob", "PipelineExecution")
_OPERATIONS = frozenset(f"Stop{kind}" for kind in _KINDS)


class JobPage(AbstractContextManager["JobPage"]):
    """Answers inside the `with`; `url` is its address."""

    def __init__(self, region: str, shown: lists.Region, operations: Mapping[str, Operation]) -> None:
        allowed = {name: operations[name] for name in _OPERATIONS if name in operations}
        router = Router(Api(lambda _: allowed), Api(lambda _: {}), moto=_refuse, home=region)
        self._server = HttpServer("127.0.0.1", 0, site.Site(router, lambda: {region: shown}))
        self.url = self._server.url

    @classmethod
    def of_job(cls, region: str, job: TrainingJob) -> Self:
        stop = {"StopTrainingJob": lambda request: _own(job, request["TrainingJobName"]).stop()}
        return cls(region, _OneJob(job), stop)

    @classmethod
    def of_region(cls, name: str, region: Region) -> Self:
        return cls(name, region, region.operations(Guard(), _no_s3))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()


class _OneJob:
    """A job that no queue runs, as a region's only one."""

    experiments = pipelines = executions = None

    def __init__(self, job: TrainingJob) -> None:
        self._job = job
        self.tuning_jobs = _NoTuningJobs()

    def job_sets(self) -> dict[str, lists.JobSet]:
        return {"training-jobs": lists.JobSet(self, lambda _: self._job.folder)}

    def describe(self, name: str) -> dict[str, Any]:
        return _own(self._job, name).describe()

    def all(self) -> list[dict[str, Any]]:
        return [self._job.describe()]


class _NoTuningJobs:
    def describe(self, name: str) -> dict[str, Any]:  # noqa: ARG002 - there is none, whatever the name
        raise NotFound

    def children(self, name: str) -> list[dict[str, Any]]:  # noqa: ARG002
        raise NotFound

    def all(self) -> list[dict[str, Any]]:
        return []


def _no_s3() -> NoReturn:
    raise NotFound  # for CreatePipeline, which is not offered


def _own(job: TrainingJob, name: str) -> TrainingJob:
    if name != job.name:
        raise NotFound
    return job


def _refuse(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    return respond(environ, start_response, "This address has the page of running jobs, and no service of AWS")
