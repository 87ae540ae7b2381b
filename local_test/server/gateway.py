"""The door for containers: a job's own credentials, and no more than a job asks for.

Any container on this machine reaches the engine's gateway, and runs whatever its image holds. So nothing is answered
there that is not signed by a running job; and what is, gets S3, what Run and load_run of the SDKs call within a job,
the job's description, its metrics and its logs.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from werkzeug.exceptions import HTTPException

from local_test.request.job_kind import PROCESSING, TRAINING, JobKind
from local_test.server.access import Environ, Wsgi
from local_test.server.job_keys import JobKeys, Keys
from local_test.server.refusal import respond
from local_test.server.signatures import read_signature

BACKENDS = frozenset({"s3", "sts", "logs", "cloudwatch"})  # moto's names
_ENTITIES = ("Experiment", "Trial", "TrialComponent", "Artifact", "Context", "Action")
_SAGEMAKER = frozenset(
    {
        *(f"{verb}{entity}" for verb in ("Create", "Describe", "Update") for entity in _ENTITIES),
        *(f"List{entity}s" for entity in _ENTITIES),
        *("AssociateTrialComponent", "DisassociateTrialComponent", "AddAssociation", "ListAssociations"),
        *("BatchPutMetrics", "BatchGetMetrics", "QueryLineage", "Search", "ListTags"),
        *("DescribeTrainingJob", "DescribeProcessingJob"),
    }
)
_ALLOWED: Mapping[str, frozenset[str]] = {
    "sagemaker": _SAGEMAKER,
    "sts": frozenset({"GetCallerIdentity"}),
    "logs": frozenset(
        {
            *("CreateLogGroup", "CreateLogStream", "PutLogEvents", "GetLogEvents", "FilterLogEvents"),
            *("DescribeLogGroups", "DescribeLogStreams"),
        }
    ),
    "monitoring": frozenset({"PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics"}),
}
_SEARCHED = frozenset({"Experiment", "ExperimentTrial", "ExperimentTrialComponent"})
_MAX_FIELDS = 10_000
_OFFER = "It may use S3, experiments, trial components and metrics, its own description, its logs, GetCallerIdentity"


class JobDoor:
    """WSGI middleware. `read_body` gives a request's body, and leaves it to be read again."""

    def __init__(self, application: Wsgi, keys: JobKeys, read_body: Callable[[Environ], bytes]) -> None:
        self._application, self._keys, self._read_body = application, keys, read_body

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if reason := self._find_reason(environ):
            return respond(environ, start_response, reason)
        return self._application(environ, start_response)

    def _find_reason(self, environ: Environ) -> str | None:
        """Why the request is refused; None: it is not."""
        signature = read_signature(environ, self._read_body)
        if not signature:
            return "Only the container of a running job has access here, with the credentials in its environment"
        try:
            jobs = self._keys.jobs_of(signature)
        except HTTPException as error:
            return f"The body can't be read: {error.name}"
        if not jobs:
            return (
                "These are not the credentials of a job that runs now: each job has its own, which are void when it "
                f"ends. Received: access key {signature.access_key[:32]!r}"
            )
        if signature.expires <= time.time():
            return "Request has expired: the address was signed for a time that is over"
        if signature.service == "s3" and not environ.get("HTTP_X_AMZ_TARGET"):
            # an address that is signed has no such header, by which alone it is told from other services' requests
            environ.setdefault("HTTP_AUTHORIZATION", _S3_SCOPE)
            return None
        body = self._read_body(environ)
        names = _operations(environ, body)
        if not names or not names <= _ALLOWED.get(signature.service, frozenset()):
            called = ", ".join(sorted(names)) or environ.get("PATH_INFO", "")
            return f"A job's container may not call this. Received: {signature.service}: {called[:200]}. {_OFFER}"
        return _check_members(names, body, jobs)


class OwnDoor:
    """WSGI middleware for a server that this program alone may use: it has to have signed with `keys`."""

    def __init__(self, application: Wsgi, keys: Keys, read_body: Callable[[Environ], bytes]) -> None:
        self._application, self._keys, self._read_body = application, keys, read_body

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        signature = read_signature(environ, self._read_body)
        try:
            is_own = signature is not None and self._keys.fits(signature)
        except HTTPException:  # the body can't be read
            is_own = False
        if not is_own:
            return respond(environ, start_response, "This address is a program's own. `serve` is for everybody")
        return self._application(environ, start_response)


_S3_SCOPE = "AWS4-HMAC-SHA256 Credential=job/20000101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


def _operations(environ: Environ, body: bytes) -> set[str]:
    """Every name by which any protocol calls an operation: who reads only one of them must not read another one."""
    names = {
        value for text in (environ.get("QUERY_STRING", ""), body.decode(errors="replace")) for value in _actions(text)
    }
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        names.add(target.rpartition(".")[2])
    path = environ.get("PATH_INFO", "").strip("/")
    if path:  # SageMaker Metrics: /BatchPutMetrics; CloudWatch: /service/…/operation/PutMetricData
        names.add(path.rpartition("/operation/")[2])
    return names


def _actions(text: str) -> list[str]:
    try:
        return parse_qs(text, max_num_fields=_MAX_FIELDS).get("Action", [])
    except ValueError:  # more of them than any operation has
        return [""]


def _check_members(names: set[str], body: bytes, jobs: set[tuple[JobKind, str]]) -> str | None:
    """Operations that are allowed for some resources only."""
    try:
        request = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None  # is answered as the bad request that it is
    member = request.get if isinstance(request, dict) else {}.get
    for kind in (TRAINING, PROCESSING):
        name = member(f"{kind.name}Name")
        if f"Describe{kind.name}" in names and (kind, name) not in jobs:
            return f"A job may describe itself alone. Received: {name!r:.200}"
    if "Search" in names and member("Resource") not in _SEARCHED:
        return f"A job may search experiments, trials and trial components. Received: {member('Resource')!r:.200}"
    return None
