"""A container's output: bytes → lines as CloudWatch shows them → a file."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

LINE_BYTES = 256 * 1024  # the largest event of CloudWatch Logs; a longer line arrives in pieces
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Lines:
    """Splits one stream of bytes at newlines, wherever the chunks happen to end."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._rest, self._limit = b"", limit

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > self._limit:
            whole.append(self._rest[: self._limit])
            self._rest = self._rest[self._limit :]
        return [clean(line) for line in whole]

    def end(self) -> list[str]:
        """The last line, if it had no newline."""
        rest, self._rest = self._rest, b""
        return [clean(rest)] if rest else []


def clean(line: bytes) -> str:
    """UTF-8, with control characters as the service's logs show them: a TAB arrives as #011."""
    text = line.removesuffix(b"\r").decode(errors="replace")
    return _CONTROL.sub(lambda match: f"#{ord(match[0]):03o}", text)


class LogFile:
    """Lines appended to a file, handed to the system before the next are taken."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, lines: Sequence[str]) -> None:
        self._file.writelines(f"{line}\n" for line in lines)
        self._file.flush()

    def close(self) -> None:
        with suppress(OSError):  # what could not be written has been an error of `write`
            self._file.close()
