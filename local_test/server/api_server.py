"""The platform behind one address: SageMaker's API, every other service by moto, S3 kept from one start to the next."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_test.api import metrics
from local_test.api.dispatch import Api, Operation
from local_test.api.metrics import MetricsApi
from local_test.aws import s3_snapshot
from local_test.aws.clients import CREDENTIALS, OWN_AGENT, Clients, find_credentials
from local_test.aws.cloudwatch import CloudWatch, delete_logs
from local_test.aws.in_process_s3 import InProcessS3
from local_test.aws.in_process_services import InProcessServices
from local_test.aws.roles import check_role, create_role, load_managed_policies
from local_test.aws.stored_operations import StoredOperations
from local_test.data.object_store import ObjectStore
from local_test.errors import BadRequest, DataError
from local_test.executions.record import ExecutionRecord
from local_test.executions.services import Services
from local_test.page.site import Site
from local_test.request.builder import LOCAL_ROLE
from local_test.request.guard import Guard
from local_test.request.job_kind import kind_of
from local_test.runners.base import Runner
from local_test.runners.image_aliases import ImageAliases
from local_test.server.access import Environ, Wsgi
from local_test.server.gateway import BACKENDS, JobDoor, OwnDoor
from local_test.server.http import HttpServer, Router, read_body
from local_test.server.job_keys import JobKeys, Keys, new_keys
from local_test.server.listener import OnRequest, allow_many_files
from local_test.server.mocked_operations import STORED
from local_test.server.mocked_services import mocked_services
from local_test.server.platform import JobContext, Platform
from local_test.training.job_store import is_of_pipeline
from local_test.training.observer import Observer
from local_test.util.arns import DEFAULT_REGION
from local_test.util.clock import now_utc
from local_test.util.console import warn_on_stderr

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Allowed:
    """`mocked`: moto answers operations that nothing executes; `files`: requests may name this machine's files;
    `any_role`: jobs may have roles that this server's IAM does not know; `any_bucket`: buckets are made as jobs name
    them."""

    mocked: bool = False
    files: bool = False
    any_role: bool = False
    any_bucket: bool = False


class ApiServer:
    """Serves from `start` to `close`. `slots`: training jobs at a time; `images`: names of requests → local names.
    `s3_url`: the S3 that data comes from and artifacts go to, instead of one of its own. `allowed`: what is
    refused otherwise. `own`: nobody but this program is answered, and only if it has signed. `observer`: of all jobs;
    `on_request` gets a line for each request, `on_execution` a pipeline's execution after every change.

    BadRequest, one line, if the address or the folder can't be had.
    """

    def __init__(
        self,
        root: Path,
        runner: Runner,
        host: str,
        port: int,
        slots: int,
        images: Mapping[str, str],
        s3_url: str | None,
        *,
        allowed: Allowed,
        own: bool = False,
        observer: Observer | None = None,
        on_request: OnRequest | None = None,
        on_execution: Callable[[ExecutionRecord], None] | None = None,
    ) -> None:
        allow_many_files()
        load_managed_policies()
        create_role(LOCAL_ROLE.rpartition("/")[2])
        self._is_ready = False
        self._s3_url, self._allowed = s3_url, allowed
        self._credentials = find_credentials() if s3_url else CREDENTIALS
        self._keys, self._saving = JobKeys(), threading.Lock()
        self._observers = [observer] if observer else []
        with ExitStack() as stack:
            aliases = ImageAliases(runner, images)
            self.platform = stack.enter_context(closing(Platform(root, aliases, slots, self._new_context)))
            guard = Guard(allowed.files, None if allowed.any_role else check_role)
            apis = _build_apis(self.platform, guard, lambda region: self._clients.get("s3", region))
            stored = self.platform.store.stored
            self._stored = StoredOperations(mocked_services(), stored, STORED, read_body)
            router = Router(*apis, s3_url, self._stored, allow_mocked=allowed.mocked, home=_home_region())
            self._loaded = threading.Event()
            gate = partial(self._answer_once_loaded, router)
            site = Site(gate, lambda: self.platform.regions(_home_region()), lambda: self._is_ready)
            keys = new_keys() if own else CREDENTIALS
            door = OwnDoor(site, Keys.of(keys), read_body) if own else site
            self._server = stack.enter_context(closing(HttpServer(host, port, door, on_request=on_request)))
            stack.callback(self._loaded.set)  # nobody waits for what will never be
            for_jobs = JobDoor(Router(*apis, s3_url, mocked_services(BACKENDS)), self._keys, read_body)
            self._gateway = _listen_at_gateway(runner, self._server, for_jobs, on_request)
            if self._gateway:
                stack.callback(self._gateway.close)
            self._clients = stack.enter_context(closing(Clients(self._server.url, s3_url, keys)))
            self.platform.delete_listeners.append(self._delete_logs)
            self.platform.execution_listeners.extend([on_execution] if on_execution else [])
            self.platform.tuning_listeners.extend(one.on_transition for one in self._observers)
            self.platform.services = cache(lambda region: self._new_services(router, region))
            self._stack = stack.pop_all()

    @property
    def url(self) -> str:
        return self._server.url

    def start(self, *, resume: bool = True) -> None:
        """Answers from here on: the page, and the API once S3 holds what an earlier server has kept. `resume`: goes on
        with what that server was killed over."""
        self._stored.load()
        self._server.start()
        if self._gateway:
            self._gateway.start()
        self._load()
        self._loaded.set()
        if resume:
            self.platform.resume()
        self._is_ready = True

    def _answer_once_loaded(self, router: Wsgi, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Who came earlier would miss objects, have new ones replaced by old ones, and have the half of them kept in
        the place of all."""
        if OWN_AGENT not in environ.get("HTTP_USER_AGENT", ""):
            self._loaded.wait()
        return router(environ, start_response)

    def _load(self) -> None:
        """Fills the own S3; one that is elsewhere only has to answer."""
        s3 = self._clients.get("s3", DEFAULT_REGION)
        if not self._s3_url:
            s3_snapshot.load(s3, self.platform.store.s3)
            return
        try:
            s3.list_buckets()
        except ClientError:  # it may not be allowed, but it has answered
            return
        except (BotoCoreError, ValueError) as error:
            raise BadRequest(f"No S3 answers at --s3-endpoint-url. Received: {self._s3_url}: {error}") from None

    def save(self) -> None:
        """Keeps what S3 holds for the next start. DataError if that fails."""
        if not self._s3_url:
            with self._saving:
                s3_snapshot.save(InProcessS3(), self.platform.store.s3)

    def _try_to_save(self) -> None:
        try:
            self.save()
        except DataError as error:
            warn_on_stderr(f"{error}. If this server is killed, pipelines can't go on from here")

    def close(self) -> None:
        """Does not wait for jobs that still run: see Platform."""
        self._stack.close()

    def _delete_logs(self, description: Mapping[str, Any]) -> None:
        delete_logs(self._clients, description)

    def exports(self) -> Iterator[str]:
        """Lines for a shell, so that every client finds this address; without the caller's own credentials."""
        region = _home_region()
        secret = set() if self._credentials is CREDENTIALS else set(self._credentials)
        for name, value in self._environment(self.url, region, self._credentials).items():
            if name not in secret:
                yield f"export {name}={value}"

    def _environment(self, url: str, region: str, credentials: Mapping[str, str]) -> dict[str, str]:
        elsewhere = {"AWS_ENDPOINT_URL_S3": self._s3_url} if self._s3_url else {}
        return {"AWS_ENDPOINT_URL": url, **elsewhere, **credentials, "AWS_DEFAULT_REGION": region}

    def _new_services(self, application: Wsgi, region: str) -> Services:
        return InProcessServices(application, self._clients, self.new_storage(region), region, self._try_to_save)

    def new_storage(self, region: str, keep: Callable[[], None] | None = None) -> ObjectStore:
        """What jobs read from and write to."""
        in_process = {} if self._s3_url else {"in_process": InProcessS3(make_buckets=self._allowed.any_bucket)}
        return ObjectStore(
            lambda: self._clients.get("s3", region), **in_process, allow_files=self._allowed.files, keep=keep
        )

    def _new_context(self, request: Mapping[str, Any], region: str) -> JobContext:
        # a pipeline goes on after this server was killed, so what its jobs leave must be there
        keep = self._try_to_save if is_of_pipeline(request) else None
        storage = self.new_storage(region, keep)
        kind = kind_of(request)
        name = kind.name_of(request)
        # an S3 elsewhere knows the caller's, not ours
        keys = new_keys() if self._credentials is CREDENTIALS else self._credentials
        environ = self._environment((self._gateway or self._server).url, region, keys)
        observers = [CloudWatch(kind, name, region, self._clients, now_utc), self._keys.for_job(kind, name, keys)]
        return JobContext(storage, environ, [*observers, *self._observers])


def _home_region() -> str:
    """That of the exports, and of requests that name none, as the page's."""
    return os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def _build_apis(platform: Platform, guard: Guard, s3: Callable[[str], Any]) -> tuple[Api, Api]:
    """SageMaker's API and that of SageMaker Metrics."""

    def operations(region: str) -> dict[str, Operation]:
        return platform.region(region).operations(guard, partial(s3, region))

    def metrics_operations(region: str) -> dict[str, Operation]:
        return MetricsApi(platform.region(region).experiments).operations()

    return Api(operations, guard=guard), Api(metrics_operations, metrics.SERVICE)


def _listen_at_gateway(
    runner: Runner, server: HttpServer, application: Wsgi, on_request: OnRequest | None
) -> HttpServer | None:
    """A second address for containers, whose 127.0.0.1 is their own: the engine's gateway.

    Where this machine can't listen there, as with an engine in a virtual machine, programs in containers have no S3;
    FIFOs, File channels and artifacts don't need one.
    """
    gateway = runner.gateway()
    if gateway:
        for port in (server.port, 0):
            with suppress(BadRequest):
                return HttpServer(gateway, port, application, on_request=on_request)
    return None
