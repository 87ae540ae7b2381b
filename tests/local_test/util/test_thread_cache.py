import threading
from concurrent.futures import ThreadPoolExecutor

from local_test.util.thread_cache import cached_once


def test_threads_that_come_at_once_make_one() -> None:
    together, made = threading.Barrier(8), []

    @cached_once
    def slow(name: str) -> object:
        made.append(name)
        threading.Event().wait(0.2)  # long enough for every thread to ask meanwhile
        return object()

    def ask(name: str) -> object:
        together.wait(10)
        return slow(name)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, "aaaabbbb"))
    assert sorted(made) == ["a", "b"]
    assert len(set(map(id, results))) == 2


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
