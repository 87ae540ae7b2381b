import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import free_addresses
from tests.support.opt_ml import job_folder
from train.distributed.rendezvous import ADDRESSES, PORT, Address, Cluster, addresses, rendezvous
from train.errors import StopRequested, TrainingError
from train.runtime import environment

ROOT = Path(__file__).parents[3]


def reached(address: Address) -> socket.socket:
    """A connection, once somebody listens there."""
    while True:
        try:
            return socket.create_connection((address.name, address.port), 30)
        except ConnectionRefusedError:
            time.sleep(0.05)


@pytest.fixture
def together(tmp_path, monkeypatch):
    """together(n, work) runs work(cluster, stop) on n hosts, a thread each: what each returned or raised."""
    job = environment.read(job_folder(tmp_path / "job", "Pipe", {}))

    def run(count: int, work: Callable[[Cluster, threading.Event], Any], limit: float = 60, absent: int = 0):
        hosts = tuple(f"algo-{number}" for number in range(1, count + 1))
        monkeypatch.setenv(ADDRESSES, free_addresses(hosts))

        def one(host: str) -> Any:
            stop = threading.Event()
            try:
                with rendezvous(replace(job, host=host, hosts=hosts), limit, stop) as cluster:
                    return work(cluster, stop)
            except (StopRequested, TrainingError) as error:
                return error

        present = hosts[: count - absent]
        with ThreadPoolExecutor(len(present)) as pool:
            return list(pool.map(one, present))

    return run


def test_everyone_hears_everyone_in_the_order_of_hosts(together):
    heard = together(3, lambda hosts, _: [hosts.all_gather(hosts.index * 10 + turn) for turn in range(3)])
    assert heard == [[[0, 10, 20], [1, 11, 21], [2, 12, 22]]] * 3


def test_every_host_has_an_address_for_tensorflow(together):
    workers = together(3, lambda hosts, _: hosts.workers)
    assert workers[0] == workers[1] == workers[2]
    assert len({worker.rpartition(":")[2] for worker in workers[0]}) == 3


def test_one_host_needs_nobody(together):
    assert together(1, lambda hosts, _: (hosts.all_gather(5), hosts.workers)) == [([5], ())]


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stop_of_one_stops_all_at_the_same_place(together, stopped):
    def work(hosts, stop):
        hosts.all_gather()
        if hosts.index == stopped:
            stop.set()
        else:
            assert stop.wait(60)  # it is told, although it waits for something else
        hosts.all_gather()

    assert [type(result) for result in together(3, work)] == [StopRequested] * 3


def test_a_failure_of_one_is_told_to_all(together):
    def work(hosts, _):
        if hosts.index == 1:
            raise TrainingError("channel train, FIFO train_0 is truncated.")
        hosts.all_gather()

    results = [str(result) for result in together(3, work)]
    assert results[1] == "channel train, FIFO train_0 is truncated."
    assert results[0] == results[2] == "Host algo-2 failed: channel train, FIFO train_0 is truncated."


def test_a_host_that_leaves_in_the_middle_is_named(together):
    def work(hosts, _):
        if hosts.index == 1:
            hosts._peers["algo-1"].close()
        hosts.all_gather()

    results = together(3, work)
    assert all(str(results[index]).startswith("Host algo-2 is gone: ") for index in (0, 2))


def test_those_that_do_not_come_are_named(together):
    first, second = together(3, lambda *_: None, limit=3, absent=1)
    assert str(first).startswith("Hosts are missing: algo-3 did not come within 3 s. Expected: algo-1, algo-2, algo-3")
    assert str(second).startswith("Host algo-1 failed: Hosts are missing: algo-3")


def test_without_the_first_host_it_is_named(tmp_path, monkeypatch):
    hosts = ("algo-1", "algo-2")
    monkeypatch.setenv(ADDRESSES, free_addresses(hosts))
    job = replace(environment.read(job_folder(tmp_path, "Pipe", {})), host="algo-2", hosts=hosts)
    with (
        pytest.raises(TrainingError, match=r"algo-1 could not be reached at 127\.0\.0\.1:\d+ within 0\.5 s"),
        rendezvous(job, 0.5, threading.Event()),
    ):
        pass


def test_a_stop_while_waiting_for_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv(ADDRESSES, free_addresses(("algo-1", "algo-2")))
    job = replace(environment.read(job_folder(tmp_path, "Pipe", {})), hosts=("algo-1", "algo-2"))
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(StopRequested), rendezvous(job, 100, stop):
        pass


def test_strangers_are_sent_away(tmp_path, monkeypatch):
    hosts = ("algo-1", "algo-2")
    given = free_addresses(hosts)
    monkeypatch.setenv(ADDRESSES, given)
    first = addresses(hosts, given)["algo-1"]
    job = environment.read(job_folder(tmp_path, "Pipe", {}))

    def one(host: str) -> list:
        with rendezvous(replace(job, host=host, hosts=hosts), 60, threading.Event()) as cluster:
            return cluster.all_gather(host)

    def stranger() -> None:
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\2[]", b'\0\0\0\x10{"host":"algo9"}', b""):
            with reached(first) as connection:
                try:
                    connection.sendall(words)
                    connection.shutdown(socket.SHUT_WR)
                    assert connection.recv(1) == b""
                except OSError as error:  # hung up before the last of it, at whichever of the three calls
                    assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN), error

    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(one, "algo-1")
        pool.submit(stranger).result(100)
        follower = pool.submit(one, "algo-2")
        assert leader.result(100) == follower.result(100) == ["algo-1", "algo-2"]


WAITING_FOR_EVER = """
    import sys, threading
    from dataclasses import replace
    from pathlib import Path
    from train.distributed.rendezvous import rendezvous
    from train.runtime import environment

    job = replace(environment.read(Path(sys.argv[1])), host=sys.argv[2], hosts=("algo-1", "algo-2"))
    with rendezvous(job, 60, threading.Event()) as hosts:
        print("met", flush=True)
        while True:
            threading.Event().wait()  # as TensorFlow would, in a collective operation
"""


@pytest.mark.parametrize(("killed", "left"), [("algo-1", "algo-2"), ("algo-2", "algo-1")])
def test_a_killed_host_ends_one_that_waits_in_tensorflow(tmp_path, killed, left):
    given = os.environ | {ADDRESSES: free_addresses(("algo-1", "algo-2")), "PYTHONPATH": str(ROOT)}
    started = {}
    for host in ("algo-1", "algo-2"):
        root = job_folder(tmp_path / host, "Pipe", {})
        (root / "output").mkdir()
        words = [sys.executable, "-c", textwrap.dedent(WAITING_FOR_EVER), str(root), host]
        started[host] = subprocess.Popen(words, env=given, stdout=subprocess.PIPE)
    try:
        for process in started.values():
            assert process.stdout.readline() == b"met\n"
        started[killed].send_signal(signal.SIGKILL)
        assert started[left].wait(200) == 1
        assert (tmp_path / left / "output/failure").read_text().startswith(f"Host {killed} is gone: ")
    finally:
        for process in started.values():
            process.kill()
            process.wait()
            process.stdout.close()


def test_addresses_are_names_and_the_fixed_port_unless_given():
    assert addresses(("algo-1",)) == {"algo-1": Address("algo-1", PORT)}
    assert addresses(("algo-1",), "algo-1=::1:77")["algo-1"] == Address("::1", 77)
