"""A main thread that waits for an event still hears signals, whichever thread the kernel gave them to."""

import queue
import signal
import subprocess
import sys
import time

import pytest

from local_test.util.queues import get_before

# the main thread has SIGTERM blocked, so that the other one gets it
DEAF = """
import queue, signal, threading
from local_test.util.queues import get_before
items = queue.SimpleQueue()
signal.signal(signal.SIGTERM, lambda number, _: items.put(number))
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
print(get_before(items), flush=True)
"""


def test_a_signal_that_another_thread_gets_is_heard() -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGTERM)
        try:
            assert child.communicate(timeout=200)[0] == f"{signal.SIGTERM.value}\n"
        finally:
            child.kill()


@pytest.mark.parametrize("seconds", [-1, 0, 0.1, 1.2])
def test_nothing_comes_before_the_limit(seconds: float) -> None:
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        get_before(queue.SimpleQueue(), began + seconds)
    assert time.monotonic() - began >= seconds


def test_what_is_there_is_taken_whatever_the_limit() -> None:
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    items.put(7)
    assert get_before(items, 0.0) == 7
