"""Credentials of jobs: each its own, valid while its hosts run."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest

from local_test.request.job_kind import JobKind
from local_test.server.signatures import Signature
from local_test.training.observer import Observer

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def new_keys() -> Mapping[str, str]:
    """As environment variables, in the form of AWS's temporary ones."""
    return {
        "AWS_ACCESS_KEY_ID": "ASIA" + "".join(secrets.choice(_LETTERS) for _ in range(16)),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_SESSION_TOKEN": secrets.token_urlsafe(96),
    }


@dataclass(frozen=True)
class Keys:
    """Credentials, as the environment variables of `new_keys` say them."""

    access_key: str
    secret: str
    token: str

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "Keys":
        token = variables.get("AWS_SESSION_TOKEN", "")
        return cls(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], token)

    def fits(self, signature: Signature) -> bool:
        """Whether they have signed."""
        same_key = compare_digest(self.access_key.encode(), signature.access_key.encode())
        same_token = compare_digest(self.token.encode(), signature.token.encode())
        # last, since it may have to read a body, which nobody else may make this server do
        return same_key and same_token and signature.made_by(self.secret)


@dataclass(frozen=True)
class _Grant:
    kind: JobKind
    job: str
    keys: Keys


class JobKeys:
    """Which credentials are valid now. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grants: set[_Grant] = set()

    def for_job(self, kind: JobKind, job: str, keys: Mapping[str, str]) -> "Grant":
        """What makes the keys valid as the job's hosts start, and void as they end."""
        return Grant(self, _Grant(kind, job, Keys.of(keys)))

    def jobs_of(self, signature: Signature) -> set[tuple[JobKind, str]]:
        """The running jobs whose credentials have signed. Several only where all have those of an S3 elsewhere."""
        with self._lock:
            grants = list(self._grants)
        return {(grant.kind, grant.job) for grant in grants if grant.keys.fits(signature)}

    def change(self, grant: _Grant, valid: bool) -> None:
        with self._lock:
            if valid:
                self._grants.add(grant)
            else:
                self._grants.discard(grant)


class Grant(Observer):
    """One job's: its hosts run from Training or Processing on, until anything but Stopping comes, which leaves them
    120 s."""

    def __init__(self, keys: JobKeys, grant: _Grant) -> None:
        self._keys, self._grant = keys, grant

    def before_transition(self, state: str) -> None:
        """Who sees that a job has ended finds its keys void."""
        if state != "Stopping":
            self._keys.change(self._grant, valid=state == self._grant.kind.running)
