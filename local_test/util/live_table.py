"""What is drawn below a terminal's lines and redrawn in place as it changes: a table, or one line."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from local_test.util.console import printable

_SIZE = os.terminal_size((80, 24))  # where a terminal does not tell its own


class Table:
    """`say` prints a permanent line above it. After `leave` the table is not drawn any more, lines still are. For one
    thread and its signal handlers."""

    def __init__(self, out: TextIO, size: Callable[[], os.terminal_size] | None = None) -> None:
        self._out, self._size = out, size or (lambda: ask_size(out))
        self._rows: list[str] = []
        self._drawn = 0  # rows that are on the screen
        self._left = False

    def show(self, rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Draws the title and the rows in columns, as far as the terminal has room."""
        columns, lines = self._size()
        cells = [[printable(cell) for cell in row] for row in rows]
        visible = [*([printable(title)] if title else []), *align(cells)][: max(1, lines - 1)]
        fitting = [_cut(row, columns - 1) for row in visible]
        if fitting != self._rows and not self._left:
            self._rows = fitting
            self._write("")

    def say(self, text: str) -> None:
        self._write(f"{printable(text)}\n")

    def clear(self) -> None:
        """Erases the table."""
        if not self._left:
            self._rows = []
            self._write("")

    def leave(self) -> None:
        """Leaves the screen as it is, since other code now writes there."""
        self._left, self._rows, self._drawn = True, [], 0

    def _write(self, lines: str) -> None:
        """One write: erases the table, prints the lines, draws the table again."""
        erase = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        rows = [] if self._left else self._rows  # a signal may have come since
        self._drawn = len(rows)
        with suppress(OSError):  # a terminal that is gone does not end the jobs
            self._out.write(erase + lines + "".join(f"{row}\n" for row in rows))
            self._out.flush()


class StatusLine:
    """One line, which stays the last. It ends without a newline: what another program writes there costs no line."""

    def __init__(self, out: TextIO, size: Callable[[], os.terminal_size] | None = None) -> None:
        self._out, self._size = out, size or (lambda: ask_size(out))
        self._shown = ""

    @property
    def columns(self) -> int:
        """The room that it has: a line that fills a terminal's last column may wrap."""
        return self._size().columns - 1

    def show(self, text: str) -> None:
        text = _cut(printable(text), self.columns)
        if text != self._shown:
            self._shown = text
            self._write(self._out, f"\r{text}\x1b[K")

    def say(self, line: str, stream: TextIO) -> None:
        """Prints a line above it to `stream`, which may be another one."""
        if self._shown:
            self._write(self._out, "\r\x1b[K")
        self._write(stream, f"{line}\n")
        if self._shown:
            self._write(self._out, self._shown)

    def clear(self) -> None:
        if self._shown:
            self._shown = ""
            self._write(self._out, "\r\x1b[K")

    def _write(self, stream: TextIO, text: str) -> None:
        with suppress(OSError):  # a terminal that is gone does not end the jobs
            stream.write(text)
            stream.flush()


def ask_size(out: TextIO) -> os.terminal_size:
    """The terminal's; the usual one where it does not tell its own."""
    with suppress(OSError, ValueError):
        size = os.get_terminal_size(out.fileno())
        return size if size.columns and size.lines else _SIZE
    return _SIZE


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line a row; each column is as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cut(row: str, columns: int) -> str:
    return row if len(row) <= columns else f"{row[: columns - 1]}…"
