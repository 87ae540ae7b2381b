"""The platform's own boto3 clients, for the address it serves; any credentials are valid there."""

import threading
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_ELSEWHERE = Config(
    connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=50
)
OWN_AGENT = "local_test/platform"  # in a request's User-Agent: it is no client's
_HERE = _ELSEWHERE.merge(Config(proxies={}, user_agent_extra=OWN_AGENT))  # it is this machine


def find_credentials() -> Mapping[str, str]:
    """The caller's credentials as environment variables, as boto3 finds them; placeholders if it finds none."""
    found = boto3.session.Session().get_credentials()
    if not found:
        return CREDENTIALS
    frozen = found.get_frozen_credentials()
    token = {"AWS_SESSION_TOKEN": frozen.token} if frozen.token else {}
    return {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key, **token}


class Clients:
    """One shared client a service and region: making one takes tenths of a second. `s3_url`: an S3 elsewhere, for
    the caller's own credentials. `keys`: those of the address itself."""

    def __init__(self, url: str, s3_url: str | None = None, keys: Mapping[str, str] = CREDENTIALS) -> None:
        self.url, self._s3_url, self._lock = url, s3_url, threading.Lock()
        self._session = open_session(keys)
        self._clients: dict[tuple[str, str], Any] = {}

    def get(self, service: str, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._new(service, region)
            return self._clients[service, region]

    def _new(self, service: str, region: str) -> Any:
        if service == "s3" and self._s3_url:
            return open_session(find_credentials()).client(
                service, region, endpoint_url=self._s3_url, config=_ELSEWHERE
            )
        return self._session.client(service, region, endpoint_url=self.url, config=_HERE)

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def open_session(known: Mapping[str, str], region: str | None = None) -> boto3.session.Session:
    """With credentials as `find_credentials` gives them."""
    return boto3.session.Session(
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=known.get("AWS_SESSION_TOKEN"),
        region_name=region,
    )
