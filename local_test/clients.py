"""boto3 clients of the platform itself, for the address it serves: credentials of any value do there."""

import threading
from typing import Any

import boto3
from botocore.config import Config

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 5},
    proxies={},  # it is this machine
    max_pool_connections=50,
)


class Clients:
    """One client a service and region, shared: making one takes tenths of a second."""

    def __init__(self, url: str) -> None:
        self.url, self._lock = url, threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}

    def get(self, service: str, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = boto3.session.Session(
                    aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                    region_name=region,
                ).client(service, endpoint_url=self.url, config=_CONFIG)
            return self._clients[service, region]

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
