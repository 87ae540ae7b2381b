"""Slow and many clients: each has its time and its connection, and takes nobody else's for long."""

import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from local_test.server.http import HttpServer, read_body
from local_test.server.listener import Patience
from tests.support.served import until

pytestmark = pytest.mark.timeout(60)
HEAD = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = read_body(environ)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with closing(HttpServer("127.0.0.1", 0, echo, Patience(head=1, body=1, write=5, connections=3))) as server:
        server.start()
        yield server.host, server.port


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes it."""
    connection.settimeout(20)
    received = b""
    try:
        while chunk := connection.recv(1000):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def ask(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, 20) as connection:
        with suppress(ConnectionError):  # it may be refused before all is sent
            connection.sendall(HEAD + b"\r\nbody")
        return rest(connection)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD, HEAD + b"\r\nbo"])
def test_a_client_that_stops_is_left(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address, 20) as connection:
        connection.sendall(sent)
        assert b" 200 " not in rest(connection)
    assert ask(address).endswith(b"\r\n\r\nbody")


def test_a_head_that_comes_in_drops_has_no_longer(address: tuple[str, int]) -> None:
    started = time.monotonic()
    with socket.create_connection(address, 20) as connection:
        connection.sendall(HEAD)
        while not select.select([connection], [], [], 0.1)[0]:
            assert time.monotonic() < started + 20
            connection.sendall(b"X: y\r\n")


def test_one_connection_too_many_is_told_to_come_again(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(address, 20)).sendall(HEAD)
        assert b" 200 " not in ask(address)
    until(lambda: ask(address).endswith(b"\r\n\r\nbody"), 20)  # free as soon as they are closed
