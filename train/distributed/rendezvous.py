"""Rendezvous of a job's hosts, beside TensorFlow: they connect, agree before each step and notice a lost host at once.

TensorFlow's collective operations wait forever for a host that is gone. So the hosts agree first, over TCP connections
of each with the first host: a step begins when all hosts are ready for it. The kernel closes the connection of a host
that dies, whatever the others are waiting for.
"""

import json
import logging
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from train.errors import StopRequested, TrainingError
from train.runtime.environment import Environment

PORT = 8889  # of the first host; TensorFlow listens at the next one, on all hosts
ADDRESSES = "TRAIN_HOST_ADDRESSES"  # of the environment: algo-1=127.0.0.1:4001,algo-2=… for hosts on one machine
_POLL_SECONDS = 0.2  # between two tries to reach the first host
_KEEPALIVE_SECONDS = 30  # until the kernel gives up a peer whose machine or network is gone
_GRACE_SECONDS = 5  # for the main thread to fail by itself once a host is lost; it may wait in TensorFlow
_MAX_MESSAGE = 1 << 26  # bytes of a message: what is longer is not from us

# what TensorFlow's collective operations raise when another host is gone
_COLLECTIVE_ERRORS = {"UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError"}

_log = logging.getLogger(__name__)


class Cluster(Protocol):
    """The hosts of a job, as its trainer sees them."""

    hosts: tuple[str, ...]
    index: int  # of this host
    workers: tuple[str, ...]  # host:port of each host's TensorFlow

    def all_gather(self, value: Any = None) -> list[Any]:
        """Every host's value (JSON), in the order of hosts; waits until all hosts have called it.

        StopRequested on all hosts if one of them is to stop; TrainingError if one has failed or is gone.
        """


class SingleHost:
    """A job on one host."""

    def __init__(self, stop: threading.Event, host: str = "algo-1") -> None:
        self.hosts: tuple[str, ...] = (host,)
        self.workers: tuple[str, ...] = ()
        self.index = 0
        self._stop = stop

    def all_gather(self, value: Any = None) -> list[Any]:
        if self._stop.is_set():
            raise StopRequested
        return [value]


@contextmanager
def synchronize_stop(cluster: Cluster) -> Iterator[None]:
    """Around work between two calls of all_gather: a stop inside it stops the hosts that wait in the next one, too."""
    try:
        yield
    except StopRequested:
        cluster.all_gather()
        raise


@contextmanager
def rendezvous(environment: Environment, limit: float, stop: threading.Event) -> Iterator[Cluster]:
    """Connect with all hosts, within `limit` seconds.

    An expected failure inside is sent to the other hosts. One that came because a host is gone becomes a TrainingError
    that names the host. At the end the other hosts wait until the first one has finished.
    """
    if len(environment.hosts) == 1:
        yield SingleHost(stop, environment.host)
        return
    hosts = Hosts(environment.host, environment.hosts, stop, environment.output_data.parent / "failure")
    try:
        hosts.connect(addresses(environment.hosts, os.environ.get(ADDRESSES, "")), limit)
        yield hosts
        hosts.shutdown()
    except StopRequested:
        hosts.shutdown()
        raise
    except TrainingError as error:
        hosts.broadcast_failure(f"Host {environment.host} failed: {error}")
        raise
    except Exception as error:
        if type(error).__name__ in _COLLECTIVE_ERRORS and (lost := hosts.wait_for_loss(_GRACE_SECONDS / 2)):
            raise TrainingError(lost) from error
        raise
    finally:
        hosts.close()


@dataclass(frozen=True)
class Address:
    """Where a host listens."""

    name: str
    port: int


def addresses(hosts: tuple[str, ...], overrides: str = "") -> dict[str, Address]:
    """Each host by its name, at PORT; `overrides`: other places of some, `host=name:port` with commas between."""
    by_host = dict(part.split("=", 1) for part in overrides.split(",") if part)
    return {host: _address(by_host.get(host, f"{host}:{PORT}")) for host in hosts}


def _address(text: str) -> Address:
    name, _, port = text.rpartition(":")
    return Address(name, int(port))


class _Peer:
    """A connection to another host. A thread reads its messages, so that its end is noticed at once."""

    def __init__(self, host: str, connection: socket.socket) -> None:
        self.host, self.connection = host, connection
        self.inbox: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()  # None: the last
        self.left = threading.Event()  # in order, or not
        self._sending = threading.Lock()
        connection.settimeout(None)
        for level, option, value in (
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS // 3),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS // 6),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _KEEPALIVE_SECONDS * 1000),
        ):
            connection.setsockopt(level, option, value)

    def send(self, message: Mapping[str, Any]) -> None:
        """Does nothing if the connection has ended: the thread that reads from it notices."""
        data = json.dumps(message).encode()
        with self._sending, suppress(OSError):
            self.connection.sendall(struct.pack(">I", len(data)) + data)

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class Hosts:
    """This host among several. The first host collects the values of all and sends them to all."""

    def __init__(self, host: str, hosts: tuple[str, ...], stop: threading.Event, failure: Path) -> None:
        self.hosts, self.index = hosts, hosts.index(host)
        self.workers: tuple[str, ...] = ()
        self._stop, self._failure = stop, failure
        self._peers: dict[str, _Peer] = {}
        self._lost = ""
        self._changed = threading.Condition()
        self._stop_sent = self._closed = False

    def connect(self, where: Mapping[str, Address], limit: float) -> None:
        """Connect with the others. TrainingError after `limit` seconds, naming those that are missing."""
        here, first = where[self.hosts[self.index]], where[self.hosts[0]]
        deadline = time.monotonic() + limit
        if self.index == 0:
            self._accept_peers(here, limit, deadline)
        else:
            self._connect_to_first(first, limit, deadline)
        for peer in self._peers.values():
            threading.Thread(target=self._listen, args=(peer,), name=peer.host, daemon=True).start()
        ports = self.all_gather(_free_port(here.port + 1))
        self.workers = tuple(f"{where[host].name}:{port}" for host, port in zip(self.hosts, ports, strict=True))
        _log.info("All hosts are there: %s", ", ".join(self.hosts))

    def all_gather(self, value: Any = None) -> list[Any]:
        """See Cluster."""
        mine = {"value": value, "stop": self._stop.is_set()}
        if self.index:
            first = self._peers[self.hosts[0]]
            first.send(mine)
            answer = self._receive_from(first)
        else:
            messages = [mine, *(self._receive_from(self._peers[host]) for host in self.hosts[1:])]
            answer = {"values": [one["value"] for one in messages], "stop": any(one["stop"] for one in messages)}
            self._send(answer)
        if answer["stop"]:
            self._stop.set()
            raise StopRequested
        return answer["values"]

    def broadcast_failure(self, failure: str) -> None:
        """Send the reason to the other hosts, unless one of them is the reason."""
        self._send({"failed": self._lost or failure})

    def shutdown(self) -> None:
        """Leave in order: the first host once its work is done, the others after it."""
        self._send({"bye": True})
        for peer in self._peers.values():
            peer.left.wait(_KEEPALIVE_SECONDS if self.index == 0 else None)
        if self._lost:
            raise TrainingError(self._lost)

    def wait_for_loss(self, seconds: float) -> str:
        """Which host is lost or has failed, and how; empty if none within that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._lost, seconds)
        return self._lost

    def close(self) -> None:
        """End all connections."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for peer in self._peers.values():
            peer.close()

    def _accept_peers(self, here: Address, limit: float, deadline: float) -> None:
        with socket.create_server(("", here.port)) as server:
            server.settimeout(_POLL_SECONDS)
            while missing := [host for host in self.hosts[1:] if host not in self._peers]:
                self._check_deadline(deadline, f"{', '.join(missing)} did not come within {limit:g} s")
                with suppress(TimeoutError):
                    self._accept_peer(server.accept()[0])

    def _accept_peer(self, connection: socket.socket) -> None:
        """Accept a host that is expected; close any other connection."""
        connection.settimeout(_POLL_SECONDS * 10)
        name = None
        with suppress(OSError, EOFError, ValueError):
            message = _receive_message(connection)
            name = message.get("host") if isinstance(message, dict) else None
        if name in self.hosts[1:] and name not in self._peers:
            self._peers[name] = _Peer(name, connection)
        else:
            connection.close()

    def _connect_to_first(self, first: Address, limit: float, deadline: float) -> None:
        host = self.hosts[0]
        while host not in self._peers:
            self._check_deadline(
                deadline, f"{host} could not be reached at {first.name}:{first.port} within {limit:g} s"
            )
            try:
                connection = socket.create_connection((first.name, first.port), timeout=_POLL_SECONDS * 10)
            except OSError:  # its name, or its program, is not there yet
                self._stop.wait(_POLL_SECONDS)
            else:
                self._peers[host] = _Peer(host, connection)
                self._peers[host].send({"host": self.hosts[self.index]})

    def _check_deadline(self, deadline: float, missing: str) -> None:
        if self._stop.is_set():
            raise StopRequested
        if time.monotonic() > deadline:
            raise TrainingError(
                f"Hosts are missing: {missing}. Expected: {', '.join(self.hosts)}. Have they failed, or does a "
                f"security group keep ports {PORT} and {PORT + 1} closed between them? (hyperparameter hosts-timeout)"
            )

    def _receive_from(self, peer: _Peer) -> Mapping[str, Any]:
        while True:
            if self._stop.is_set() and not self._stop_sent:  # others may be waiting for a FIFO
                self._stop_sent = True
                self._send({"stopping": True})
            with suppress(queue.Empty):
                message = peer.inbox.get(timeout=_POLL_SECONDS)
                if message is None:
                    raise TrainingError(self._lost or f"Host {peer.host} has left before the others.")
                return message

    def _send(self, message: Mapping[str, Any], but: str = "") -> None:
        for peer in self._peers.values():
            if peer.host != but:
                peer.send(message)

    def _listen(self, peer: _Peer) -> None:
        with suppress(OSError, EOFError, ValueError):
            while True:
                self._handle(peer, _receive_message(peer.connection))
        if not (peer.left.is_set() or self._closed):
            self._peer_lost(
                f"Host {peer.host} is gone: its connection ended in the middle of the job. Its own log says why, "
                "unless it was killed, for lack of memory for example.",
                peer.host,
            )
        peer.left.set()
        peer.inbox.put(None)

    def _handle(self, peer: _Peer, message: Mapping[str, Any]) -> None:
        if "bye" in message:
            peer.left.set()
        elif "failed" in message:
            self._peer_lost(message["failed"], peer.host)
        elif "stopping" in message:
            self._stop.set()
            if self.index == 0:
                self._send(message, but=peer.host)
        else:
            peer.inbox.put(message)

    def _peer_lost(self, why: str, host: str) -> None:
        """Inform all hosts. If the main thread waits in TensorFlow and does not fail by itself, end the process."""
        with self._changed:
            if self._lost:
                return
            self._lost = why
            self._changed.notify_all()
        if self.index == 0:
            self._send({"failed": why}, but=host)
        for peer in self._peers.values():
            peer.inbox.put(None)
        threading.Thread(target=self._exit, name="end", daemon=True).start()

    def _exit(self) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, _GRACE_SECONDS):
                return
        _log.error("%s", self._lost)
        self._failure.write_text(self._lost)
        os._exit(1)


def _receive_message(connection: socket.socket) -> Any:
    """The next message. EOFError or OSError at the connection's end, ValueError for what is not a message."""
    (length,) = struct.unpack(">I", _receive_exactly(connection, 4))
    if length > _MAX_MESSAGE:
        raise ValueError(f"{length} bytes are too many for a message")
    return json.loads(_receive_exactly(connection, length))


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return data


def _free_port(wanted: int) -> int:
    """`wanted` if it is free, else another port."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("", port)) as server:
            return server.getsockname()[1]
    raise TrainingError(f"No port is free for TensorFlow. Wanted: {wanted}.")
