"""Slow and many clients: each has its time and its connection, and takes nobody else's for long."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest

from local_test.server.http import HttpServer, read_body
from local_test.server.listener import Patience
from tests.support.served import until

HEAD = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = read_body(environ)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def listening(patience: Patience) -> Iterator[tuple[str, int]]:
    with closing(HttpServer("127.0.0.1", 0, echo, patience)) as server:
        server.start()
        yield server.host, server.port


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with listening(Patience(head=2, body=2, write=100)) as found:
        yield found


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes it."""
    connection.settimeout(100)
    received = b""
    try:
        while chunk := connection.recv(1000):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def ask(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, 100) as connection:
        with suppress(ConnectionError):  # it may be refused before all is sent
            connection.sendall(HEAD + b"\r\nbody")
        return rest(connection)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD, HEAD + b"\r\nbo"])
def test_a_client_that_stops_is_left(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address, 100) as connection:
        connection.sendall(sent)
        assert b" 200 " not in rest(connection)
    assert ask(address).endswith(b"\r\n\r\nbody")


def test_a_head_that_comes_in_drops_has_no_longer(address: tuple[str, int]) -> None:
    started = time.monotonic()
    with socket.create_connection(address, 100) as connection:
        connection.sendall(HEAD)
        while not select.select([connection], [], [], 0.1)[0]:
            assert time.monotonic() < started + 100
            connection.sendall(b"X: y\r\n")


def test_one_request_too_many_is_told_to_come_again() -> None:
    """All connections are busy, and no client is to blame."""
    busy, may_end = threading.Barrier(4), threading.Event()

    def work(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/work":
            busy.wait(100)
            may_end.wait(100)
        return echo(environ, start_response)

    with closing(HttpServer("127.0.0.1", 0, work, Patience(least=0, connections=3))) as server, ExitStack() as stack:
        server.start()
        address = server.host, server.port
        workers = [stack.enter_context(socket.create_connection(address, 100)) for _ in range(3)]
        for worker in workers:
            worker.sendall(HEAD.replace(b"/", b"/work", 1) + b"\r\nbody")
        busy.wait(100)
        assert b" 200 " not in ask(address)
        may_end.set()
        assert all(rest(worker).endswith(b"\r\n\r\nbody") for worker in workers)
        until(lambda: ask(address).endswith(b"\r\n\r\nbody"), 100)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD, HEAD + b"\r\nbo", b"GET /large HTTP/1.1\r\n\r\n"])
def test_clients_that_let_the_server_wait_keep_nobody_out(sent: bytes) -> None:
    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/large":
            return echo(environ, start_response)
        start_response("200 OK", [])
        return [bytes(1 << 24)] * 10  # more than the buffers of a connection

    patience = Patience(head=600, body=600, write=600, connections=3, least=0.1)
    with closing(HttpServer("127.0.0.1", 0, large, patience)) as server, ExitStack() as stack:
        server.start()
        for _ in range(3):
            stack.enter_context(socket.create_connection((server.host, server.port), 100)).sendall(sent)
        until(lambda: ask((server.host, server.port)).endswith(b"\r\n\r\nbody"), 100)


def test_a_machine_without_threads_is_busy_for_that_time_alone() -> None:
    with listening(Patience(connections=3)) as address:
        usual = threading.stack_size(1 << 47)  # more than there are addresses
        try:
            for _ in range(3):
                assert b" 200 " not in ask(address)
        finally:
            threading.stack_size(usual)
        assert ask(address).endswith(b"\r\n\r\nbody")


UNCLEAR = (
    *(b"Content-Length: -4", b"Content-Length: 4e0", b"Content-Length: +4", b"Content-Length: 4\r\nContent-Length: 3"),
    *(b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked, identity"),
    *(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    *(b"Content-Length: 4\r\n 4", b"Content-Length:", b"Content-Length: 99999999999999999999"),
)


def test_a_body_whose_length_is_not_clear_is_refused(address: tuple[str, int]) -> None:
    """It was taken for none: a PUT to S3 kept an empty object."""
    for lines in UNCLEAR:
        with socket.create_connection(address, 100) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\n" + lines + b"\r\n\r\n")
            answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 400 The length of the body is not clear. Received: "), lines
