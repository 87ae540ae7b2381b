import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType

from local_test.util.threads import cached_once, join_all


def test_threads_that_come_at_once_make_one() -> None:
    made: list[str] = []

    @cached_once
    def slow(name: str) -> object:
        made.append(name)
        while len(made) == 1 and _count_threads_in(slow) < 7:  # all others ask meanwhile
            time.sleep(0.001)
        return object()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(slow, "aaaabbbb"))
    assert sorted(made) == ["a", "b"]
    assert len(set(map(id, results))) == 2


def _count_threads_in(function: FunctionType) -> int:
    """Threads that wait in it: of their own frames, it is the innermost."""
    return sum(frame.f_code is function.__code__ for frame in sys._current_frames().values())


def test_what_can_not_be_made_is_tried_again() -> None:
    answers = iter([ValueError("not yet"), 7])

    @cached_once
    def made() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    for expected in ("not yet", 7, 7):
        try:
            assert made() == expected
        except ValueError as error:
            assert str(error) == expected


def test_all_threads_together_are_waited_for_no_longer_than_that() -> None:
    go_on = threading.Event()
    threads = [threading.Thread(target=go_on.wait, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert not join_all(threads, 0.1)
    assert not join_all(reversed(threads), 0)
    assert time.monotonic() - began < 0.1 * len(threads)
    go_on.set()
    assert join_all(threads, 10)
