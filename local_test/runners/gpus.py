"""Which of this machine's GPUs each container gets. Pure but for looking which there are."""

import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from local_test.errors import RunnerError

_FOLDER = Path("/proc/driver/nvidia/gpus")  # NVIDIA's driver has a folder for each


class Gpus:
    """All of this machine's, or those that `chosen` numbers. RunnerError if one of them is not there. Safe for threads.

    Containers at the same time get different ones, as long as there are; then they share.
    """

    def __init__(self, chosen: Collection[int] | None = None, folder: Path = _FOLDER) -> None:
        there = range(len(list(folder.glob("*"))))
        if missing := sorted(set(chosen or ()) - set(there)):
            raise RunnerError(
                f"--gpus names what this machine has not. Received: {', '.join(map(str, missing))}. It has "
                + (f"0 to {len(there) - 1}" if there else "no GPU of NVIDIA's driver")
            )
        self._users = dict.fromkeys(there if chosen is None else sorted(set(chosen)), 0)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._users)

    def take(self, count: int) -> list[int]:
        """The numbers of those that fewest containers have."""
        with self._lock:
            taken = sorted(sorted(self._users, key=lambda number: (self._users[number], number))[:count])
            for number in taken:
                self._users[number] += 1
            return taken

    def give_back(self, numbers: Sequence[int]) -> None:
        with self._lock:
            for number in numbers:
                self._users[number] -= 1
