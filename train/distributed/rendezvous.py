"""The hosts of a job, beside TensorFlow: they find each other, agree before each step, and learn at once who is gone.

TensorFlow's collective operations wait for a host that does not take part. So the hosts speak first, over a star of TCP
connections with the first host in the middle: a step is begun only when all have said that they begin it, and a host
that dies closes its connection, whatever the others are waiting for.
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

PORT = 8889  # for the hosts' own words, on the first host; TensorFlow takes the next one, on all
ADDRESSES = "TRAIN_HOST_ADDRESSES"  # of the environment: algo-1=127.0.0.1:4001,algo-2=… for hosts on one machine
_POLL_SECONDS = 0.2  # between two tries to reach the first host
_KEEPALIVE_SECONDS = 30  # until the kernel gives up a peer whose machine or network is gone
_GRACE_SECONDS = 5  # for the main thread to fail by itself once a host is lost; it may wait in TensorFlow
_MAX_MESSAGE = 1 << 26  # bytes of a message: what is longer is not from us

# what TensorFlow's collective operations raise when another host is gone
_COLLECTIVE_ERRORS = {"UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError"}

_log = logging.getLogger(__name__)


class Cluster(Protocol):
    """What the job and its loop see of the other hosts."""

    hosts: tuple[str, ...]
    index: int  # of this host
    workers: tuple[str, ...]  # host:port of each host's TensorFlow

    def all_gather(self, value: Any = None) -> list[Any]:
        """Every host's value (JSON), in the order of hosts; waits until all have given theirs.

        StopRequested on all hosts if one of them is to stop; TrainingError if one has failed or is gone.
        """
        ...


class SingleHost:
    """One host: it agrees with itself."""

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
    """Work between two exchanges: a stop met here is told to the others at the exchange where they wait."""
    try:
        yield
    except StopRequested:
        cluster.all_gather()
        raise


@contextmanager
def rendezvous(environment: Environment, limit: float, stop: threading.Event) -> Iterator[Cluster]:
    """All hosts, once each is there; `limit` in seconds bounds the wait for them.

    An expected failure inside is told to the other hosts; one that came because a host is gone becomes a TrainingError
    with its name. At the end the others stay until the first host has finished.
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


def addresses(hosts: tuple[str, ...], given: str = "") -> dict[str, Address]:
    """Every host by its name, at PORT, unless `given` as `host=name:port` with commas between."""
    known = dict(part.split("=", 1) for part in given.split(",") if part)
    return {host: _address(known.get(host, f"{host}:{PORT}")) for host in hosts}


def _address(text: str) -> Address:
    name, _, port = text.rpartition(":")
    return Address(name, int(port))


class _Peer:
    """A connection to another host. Its messages arrive on a thread, so that its end is noticed at once."""

    def __init__(self, host: str, connection: socket.socket) -> None:
        self.host, self.connection = host, connection
        self.inbox: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()  # None: no more will come
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
        """Nothing happens if the connection has ended: whoever listens notices."""
        data = json.dumps(message).encode()
        with self._sending, suppress(OSError):
            self.connection.sendall(struct.pack(">I", len(data)) + data)

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class Hosts:
    """This host among several. The first one gathers what all say and tells it to all."""

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
            said = [mine, *(self._receive_from(self._peers[host]) for host in self.hosts[1:])]
            answer = {"values": [one["value"] for one in said], "stop": any(one["stop"] for one in said)}
            self._send(answer)
        if answer["stop"]:
            self._stop.set()
            raise StopRequested
        return answer["values"]

    def broadcast_failure(self, failure: str) -> None:
        """The others why this host fails, unless it fails because of them."""
        self._send({"failed": self._lost or failure})

    def shutdown(self) -> None:
        """Say goodbye; the first host does once its work is done, and the others wait for that."""
        self._send({"bye": True})
        for peer in self._peers.values():
            peer.left.wait(_KEEPALIVE_SECONDS if self.index == 0 else None)
        if self._lost:
            raise TrainingError(self._lost)

    def wait_for_loss(self, seconds: float) -> str:
        """Which host is lost, or has failed, and how; empty if none is after that time."""
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
        """A host that is expected becomes a peer; nobody else has business here."""
        connection.settimeout(_POLL_SECONDS * 10)
        name = None
        with suppress(OSError, EOFError, ValueError):
            said = _receive_message(connection)
            name = said.get("host") if isinstance(said, dict) else None
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
        """Everyone learns it. If the main thread does not fail by itself, because it waits in TensorFlow, all ends."""
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
    """That port if nobody has it, else another that is free."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("", port)) as server:
            return server.getsockname()[1]
    raise TrainingError(f"No port is free for TensorFlow. Wanted: {wanted}.")
