"""Jobs of a SageMaker: AWS's, or the one that a server of this machine answers for. By boto3, as any client."""

import heapq
import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED, xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_test.aws.clients import CREDENTIALS, find_credentials, open_session
from local_test.data.object_store import ObjectStore, StoredObject, join_uri
from local_test.errors import BadRequest, DataError, RunnerError
from local_test.hosts.artifacts import REPORT
from local_test.places.base import Description, Job, Log, Place, is_name
from local_test.request.job_kind import TRAINING, JobKind
from local_test.util.arns import DEFAULT_REGION
from local_test.util.console import warn_on_stderr

_LIMITS = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_AT_A_TIME = 8  # descriptions
_MOST_REPORT = 64 << 20  # bytes
_MAX_ATTRIBUTES = 1 << 20  # bytes: a name of any file system is shorter
_ATTRIBUTES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_NOT_FOUND = ("ResourceNotFound", "ResourceNotFoundException")
_WORDS_OF_NOT_FOUND = ("not found", "not find", "does not exist")  # of a ValidationException


class Clients:
    """boto3's clients for one address (None: AWS's own) and region (None: that of boto3's configuration)."""

    def __init__(self, url: str | None, region: str | None, environ: Mapping[str, str] = os.environ) -> None:
        self._url, self._region, self._environ = url, region, environ
        self._made: dict[tuple[str, str | None], Any] = {}

    def get(self, service: str, region: str | None = None) -> Any:
        """The service's client, of that region where it is told."""
        if (service, region) not in self._made:
            self._made[service, region] = self._new(service, region)
        return self._made[service, region]

    def _new(self, service: str, region: str | None) -> Any:
        if not self._url:
            session = boto3.session.Session(region_name=self._region or region)
            return session.client(service, config=_LIMITS.merge(Config(ignore_configured_endpoint_urls=True)))
        url, config = self._environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or self._url, _LIMITS
        region = self._region or self._environ.get("AWS_DEFAULT_REGION") or region
        if urlsplit(url).hostname in _LOOPBACK:
            config = config.merge(Config(proxies={}))
        if not region and service == "sagemaker":  # unsigned, it is the server's own
            config = config.merge(Config(signature_version=UNSIGNED))
        keys = CREDENTIALS if url == self._url and urlsplit(url).hostname in _LOOPBACK else find_credentials()
        return open_session(keys, region or DEFAULT_REGION).client(service, endpoint_url=url, config=config)

    def close(self) -> None:
        for client in self._made.values():
            client.close()


class ServicePlace(Place):
    """`url`: of a server; None for AWS."""

    def __init__(self, url: str | None, region: str | None) -> None:
        self._url, self._clients = url, Clients(url, region)
        self.label = f"server {url}" if url else f"AWS{f', {region}' if region else ''}"
        self.options = [*(["--endpoint-url", url] if url else ["--aws"]), *(["--region", region] if region else [])]
        self.seconds, self.is_late = (0.5, False) if url else (2.0, True)

    def close(self) -> None:
        self._clients.close()

    @contextmanager
    def _asking(self, received: str = "") -> Iterator[None]:
        """BadRequest with the service's own words, RunnerError if it can't be asked; each one line."""
        try:
            yield
        except ClientError as error:
            busy = error.response["ResponseMetadata"].get("HTTPStatusCode", 400) >= 500 or "Throttl" in str(error)
            text = _message(error)
            text += f". Received: {received}" if received and "Received:" not in text else ""
            raise (RunnerError if busy else BadRequest)(text) from None
        except (BotoCoreError, ValueError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            advice = "Is it running? python -m local_test serve" if self._url else "See `aws configure`"
            raise RunnerError(f"SageMaker can't be asked: {reason}. {advice}") from None

    def _call(self, operation: str, **request: Any) -> Any:
        return getattr(self._clients.get("sagemaker"), xform_name(operation))(**request)

    def _pages(self, operation: str, most: int | None = None, **request: Any) -> Iterator[Any]:
        pages = self._clients.get("sagemaker").get_paginator(xform_name(operation))
        return pages.paginate(**request, PaginationConfig={"MaxItems": most, "PageSize": 100})

    def newest(self, kind: JobKind, limit: int) -> Sequence[Description]:
        with self._asking():
            try:
                order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
                pages = self._pages(f"List{kind.name}s", limit, **order)
                names = [kind.name_of(job) for page in pages for job in page[f"{kind.name}Summaries"]]
            except ClientError as error:
                if kind is TRAINING:
                    raise
                warn_on_stderr(f"{self}: {kind.noun}s are left out: {_message(error)}")
                return []
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                return [found for found in pool.map(partial(self.describe, kind), names) if found]

    def describe(self, kind: JobKind, name: str) -> Description | None:
        if not is_name(name):
            return None
        with self._asking():
            try:
                return self._call(f"Describe{kind.name}", **{f"{kind.name}Name": name})
            except ClientError as error:
                code = error.response["Error"]["Code"]
                unknown = code == "ValidationException" and any(w in _message(error) for w in _WORDS_OF_NOT_FOUND)
                if code in _NOT_FOUND or unknown:
                    return None
                raise

    def children(self, name: str) -> Sequence[Description]:
        with self._asking():
            pages = self._pages("ListTrainingJobsForHyperParameterTuningJob", HyperParameterTuningJobName=name)
            return [child for page in pages for child in page["TrainingJobSummaries"]]

    def stop(self, kind: JobKind, name: str) -> None:
        with self._asking(name):
            self._call(f"Stop{kind.name}", **{f"{kind.name}Name": name})

    def interrupt(self, name: str) -> None:
        """An operation of the local server alone: boto3 has no method for it."""
        if not self._url:
            raise BadRequest(f"AWS alone takes spot instances away from its jobs. Received: {name}")
        with self._asking(name):
            interrupt_job(self._clients.get("sagemaker"), name)

    def log(self, kind: JobKind, description: Description) -> Log:
        region = Job(self, kind, description).region
        return CloudWatchLog(lambda: self._clients.get("logs", region), kind.log_group, kind.name_of(description))

    def open_storage(self, description: Description) -> ObjectStore:
        region = Job(self, TRAINING, description).region
        return ObjectStore(lambda: self._clients.get("s3", region))

    def report(self, description: Description) -> bytes | None:
        """Out of output.tar.gz, or from beside the other files where the job's output is not packed."""
        output = description["OutputDataConfig"]
        model = description.get("ModelArtifacts", {}).get("S3ModelArtifacts", "").rstrip("/")
        folder = model.rpartition("/")[0] or join_uri(output["S3OutputPath"], TRAINING.name_of(description), "output")
        with closing(self.open_storage(description)) as storage:
            try:
                if output.get("CompressionType") == "NONE":
                    uri = join_uri(folder, "data", REPORT)
                    return storage.read(uri) if storage.objects(uri) else None
                uri = join_uri(folder, "output.tar.gz")
                return _unpack(storage, uri) if storage.objects(uri) else None
            except (DataError, BotoCoreError, OSError) as error:
                raise BadRequest(f"The job's output can't be read: {error}. Received: {folder}") from None


def interrupt_job(client: Any, name: str) -> None:
    """InterruptTrainingJob, sent as StopTrainingJob is, under its own name."""

    def rename(request: Any, **_: Any) -> None:
        del request.headers["X-Amz-Target"]
        request.headers["X-Amz-Target"] = "SageMaker.InterruptTrainingJob"

    event = "before-sign.sagemaker.StopTrainingJob"
    client.meta.events.register(event, rename)
    try:
        client.stop_training_job(TrainingJobName=name)
    finally:
        client.meta.events.unregister(event, rename)


def _message(error: ClientError) -> str:
    found = error.response["Error"]
    return str(found.get("Message") or found.get("Code") or error).rstrip(".")


class CloudWatchLog:
    """The streams <job>/<host>-<time> of a group, the lines of several in the order of their times."""

    def __init__(self, client: Any, group: str, name: str) -> None:
        self._client, self._group, self._name = client, group, name
        self._tokens: dict[str, str] = {}  # stream → where to go on

    def read(self) -> Iterator[tuple[str, str]]:
        try:
            streams = self._streams()
            lines = heapq.merge(*(self._events(stream) for stream in streams), key=lambda item: item[0])
            yield from ((host, text) for _, host, text in lines)
        except ClientError as error:
            raise BadRequest(f"CloudWatch Logs: {_message(error)}") from None
        except BotoCoreError as error:
            raise RunnerError(f"CloudWatch Logs can't be asked: {' '.join(str(error).split())}") from None

    def _streams(self) -> list[str]:
        members = {"logGroupName": self._group, "logStreamNamePrefix": f"{self._name}/"}
        try:
            pages = self._client().get_paginator("describe_log_streams").paginate(**members)
            return sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_FOUND:  # no job has written a line yet
                return []
            raise

    def _events(self, stream: str) -> Iterator[tuple[int, str, str]]:
        """(time, host, line) of those that came since. A page may be empty before the end, which repeats its token."""
        host = stream.removeprefix(f"{self._name}/").rpartition("-")[0]
        members = {"logGroupName": self._group, "logStreamName": stream, "startFromHead": True}
        while True:
            token = self._tokens.get(stream)
            page = self._client().get_log_events(**members, **({"nextToken": token} if token else {}))
            for event in page["events"]:
                yield event["timestamp"], host, event["message"].rstrip("\n")
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token:
                return


class _Chunks(io.RawIOBase):
    """Bytes as they come, as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


class _Entry(tarfile.TarInfo):
    """tarfile takes a long name and other attributes into memory, however long the archive says that they are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Entry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _ATTRIBUTES and entry.size > _MAX_ATTRIBUTES:
            raise ValueError(f"a name or attributes of {entry.size:,} bytes. Expected: at most {_MAX_ATTRIBUTES:,}")
        return entry


def _unpack(storage: ObjectStore, uri: str) -> bytes | None:
    """report.html out of an archive, which is read as it comes: it may be larger than the disk."""
    with closing(storage.chunks(StoredObject(uri, "", 0))) as chunks:  # type: ignore[type-var]  # a generator
        try:
            with tarfile.open(fileobj=io.BufferedReader(_Chunks(chunks)), mode="r|gz", tarinfo=_Entry) as tar:
                for member in tar:
                    if member.name.removeprefix("./") == REPORT and member.isfile():
                        if member.size > _MOST_REPORT:
                            raise BadRequest(f"{REPORT} is too large. Received: {member.size} bytes in {uri}")
                        file = tar.extractfile(member)
                        return file.read() if file else None
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise BadRequest(f"The job's output is no archive: {error}. Received: {uri}") from None
    return None
