"""Ports for programs that are told where to listen, and several hosts of a job on one machine."""

import itertools
import os
import socket
from contextlib import suppress

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw"))
_NUMBERS = itertools.count(2 * os.getpid(), 2)


def free_port() -> int:
    """A port of 127.0.0.1 that stays free until the program listens there, which may take a while; and so does the
    next one. The kernel gives it to nobody who asks for any, no other worker of this run and no later call has it."""
    while True:
        port = 10_000 + 1000 * (_WORKER % 10) + next(_NUMBERS) % 1000
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def free_addresses(hosts: tuple[str, ...]) -> str:
    """For TRAIN_HOST_ADDRESSES."""
    return ",".join(f"{host}=127.0.0.1:{free_port()}" for host in hosts)
