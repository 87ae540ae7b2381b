"""The local SageMaker put together: store, jobs, operations, address."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_test.api import metrics as measuring
from local_test.api.dispatch import Api
from local_test.api.experiments import ExperimentsApi
from local_test.api.metrics import MetricsApi
from local_test.api.search import SearchApi
from local_test.api.tags import TagsApi
from local_test.api.training_jobs import TrainingJobsApi
from local_test.api.tuning_jobs import TuningJobsApi
from local_test.aws import s3_snapshot as snapshot
from local_test.aws.clients import CREDENTIALS, Clients, callers_credentials
from local_test.aws.cloudwatch import CloudWatch
from local_test.aws.in_process_s3 import InProcessS3
from local_test.data.object_store import Storage
from local_test.errors import BadRequest
from local_test.experiments.entities import Experiments
from local_test.experiments.job_tracker import JobTracker, sync_component
from local_test.request.builder import LOCAL_ROLE
from local_test.runners.base import Runner
from local_test.runners.image_aliases import ImageAliases
from local_test.server.http import Router, Server
from local_test.training.job import TrainingJob
from local_test.training.job_queue import Jobs
from local_test.training.job_store import Store
from local_test.training.spot import asked_for
from local_test.tuning.job_manager import TuningJobManager
from local_test.util.arns import DEFAULT_REGION
from local_test.util.clock import now_utc

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Service:
    """Serves from `start` to `close`. `slots`: training jobs at a time; `images`: names of requests → local names.
    `s3_url`: the S3 that data comes from and artifacts go to, instead of one of its own.

    BadRequest, one line, if the address or the folder can't be had.
    """

    def __init__(
        self,
        root: Path,
        runner: Runner,
        host: str,
        port: int,
        slots: int,
        images: Mapping[str, str] | None = None,
        s3_url: str | None = None,
    ) -> None:
        self._s3_url = s3_url
        self._credentials = callers_credentials() if s3_url else CREDENTIALS
        self._runner: Runner = ImageAliases(runner, images or {})
        with ExitStack() as stack:
            self._store = stack.enter_context(closing(Store(root)))
            self.jobs = Jobs(self._store, self._new_job, slots, self._runner.sweep)
            self.tuning_jobs = TuningJobManager(self._store.tuning, self.jobs)
            self._experiments = self._tracked()
            operations = (
                TrainingJobsApi(self.jobs),
                TuningJobsApi(self.tuning_jobs),
                ExperimentsApi(self._experiments),
                SearchApi(self.jobs, self.tuning_jobs, self._experiments),
                TagsApi(self.jobs, self.tuning_jobs, self._experiments),
            )
            api = Api({name: call for some in operations for name, call in some.operations().items()})
            router = Router(api, Api(MetricsApi(self._experiments).operations(), measuring.SERVICE), s3_url)
            self._server = stack.enter_context(closing(Server(host, port, router)))
            self._inside = _inside(runner, self._server, router)
            if self._inside:
                stack.callback(self._inside.close)
            self._clients = stack.enter_context(closing(Clients(self._server.url, s3_url)))
            self._stack = stack.pop_all()

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        """Answers from here on. S3 holds what it held at an orderly end; the role of local job files exists."""
        self._server.start()
        if self._inside:
            self._inside.start()
        self._load()
        iam = self._clients.get("iam", DEFAULT_REGION)
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=LOCAL_ROLE.rpartition("/")[2], AssumeRolePolicyDocument=json.dumps(_TRUST))

    def _load(self) -> None:
        """An S3 that is elsewhere has what it has: it must only answer."""
        s3 = self._clients.get("s3", DEFAULT_REGION)
        if not self._s3_url:
            snapshot.load(s3, self._store.s3)
            return
        try:
            s3.list_buckets()
        except ClientError:  # it may not be allowed, but it has answered
            return
        except (BotoCoreError, ValueError) as error:
            raise BadRequest(f"No S3 answers at --s3-endpoint-url. Received: {self._s3_url}: {error}") from None

    def _tracked(self) -> Experiments:
        """With what became of the jobs of an earlier server."""
        experiments = Experiments(self._store.experiments, now_utc)
        for description in self.jobs.all():
            sync_component(experiments, description)
        return experiments

    def stop_jobs(self) -> list[str]:
        """As the service would; the names of the training jobs that still have to end."""
        self.tuning_jobs.close()
        return self.jobs.close()

    def ended(self, seconds: float) -> bool:
        """Whether everything has, which is waited for so long."""
        return self.jobs.wait(seconds) and self.tuning_jobs.wait(seconds)

    def save(self) -> None:
        """What S3 holds, for the next start. DataError if it can't be."""
        if not self._s3_url:
            snapshot.save(self._clients.get("s3", DEFAULT_REGION), self._store.s3)

    def close(self) -> None:
        """Jobs that still run are not waited for: see `jobs`."""
        self._stack.close()

    def exports(self) -> Iterator[str]:
        """What a shell needs so that every client finds this address. Credentials of the caller's own are not shown."""
        region = os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
        secret = set() if self._credentials is CREDENTIALS else set(self._credentials)
        for name, value in self._environment(self.url, region).items():
            if name not in secret:
                yield f"export {name}={value}"

    def _environment(self, url: str, region: str) -> dict[str, str]:
        elsewhere = {"AWS_ENDPOINT_URL_S3": self._s3_url} if self._s3_url else {}
        return {"AWS_ENDPOINT_URL": url, **elsewhere, **self._credentials, "AWS_DEFAULT_REGION": region}

    def _new_job(self, request: Mapping[str, Any], region: str, tuning_arn: str | None) -> TrainingJob:
        watching = CloudWatch(request["TrainingJobName"], region, self._clients, now_utc)
        tracking = JobTracker(self._experiments, request, region)
        interrupting = asked_for(request)
        here = {} if self._s3_url else {"inside": InProcessS3()}
        storage = Storage(lambda: self._clients.get("s3", region), **here)
        environ = self._environment((self._inside or self._server).url, region)
        observers = [watching, tracking, *interrupting]
        job = TrainingJob(request, self._store.jobs, self._runner, storage, environ, observers, tuning_arn=tuning_arn)
        for observer in interrupting:
            observer.job = job
        return job


def _inside(runner: Runner, server: Server, router: Router) -> Server | None:
    """For containers, whose 127.0.0.1 is their own: the engine's gateway, which leads to this machine alone.

    Where that can't be listened at, as with an engine in a virtual machine, programs in containers have no S3; FIFOs,
    File channels and artifacts don't need one.
    """
    gateway = runner.gateway()
    if gateway and server.host in LOOPBACK:
        for port in (server.port, 0):
            with suppress(BadRequest):
                return Server(gateway, port, router)
    return None
