"""A command on a terminal of its own, which can be asked and interrupted."""

import os
import pty
import select
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Terminal:
    """Runs `arguments` in `folder`; `output` is what it has shown until now."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int = 0
    ) -> None:
        """`columns` 0: it does not tell its size."""
        self._pid, self._file = pty.fork()
        if not self._pid:
            try:
                termios.tcsetwinsize(0, (24 if columns else 0, columns))
                os.chdir(folder)
                os.execvpe(arguments[0], list(arguments), dict(environment))
            finally:
                os._exit(127)
        self.output = ""

    def wait_for(self, text: str, seconds: float = 200) -> None:
        """Until the output has it."""
        limit = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < limit, self.output
            if not self._read():
                assert text in self.output, self.output

    def _read(self) -> bool:
        """What is there within a second; False where there will be no more."""
        if not select.select([self._file], [], [], 1)[0]:
            return True
        try:
            got = os.read(self._file, 65536)
        except OSError:  # the other side is closed
            return False
        self.output += got.decode(errors="replace").replace("\r\n", "\n")
        return bool(got)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def end(self, seconds: float = 200) -> int:
        """The exit code, once nothing more comes."""
        limit = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < limit, self.output
        _, status = os.waitpid(self._pid, 0)
        os.close(self._file)
        return os.waitstatus_to_exitcode(status)
