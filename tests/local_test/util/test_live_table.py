"""A table that is drawn in place, seen through a terminal of the tests' own."""

import io
import os
import re

from local_test.util.live_table import Table, align


class Screen(io.StringIO):
    """What a terminal shows of what was written to it: lines, cursor up (F), erase below (J)."""

    def lines(self) -> list[str]:
        shown, row = [""], 0
        for up, erase, text, newline in re.findall(r"\x1b\[(\d+)F|(\x1b\[J)|([^\x1b\n]+)|(\n)", self.getvalue()):
            if up:
                row -= int(up)
                assert row >= 0
            elif erase:
                del shown[row:]
                shown.append("")
            elif newline:
                row += 1
                shown += [""] * (row + 1 - len(shown))
            else:
                shown[row] += text
        return shown[:-1]


def table(screen: Screen, columns: int = 40, lines: int = 10) -> Table:
    return Table(screen, lambda: os.terminal_size((columns, lines)))


def test_lines_stay_above_it() -> None:
    screen = Screen()
    shown = table(screen)
    shown.say("first")
    shown.show([["a", "1"], ["bb", "22"]], "two rows")
    assert screen.lines() == ["first", "two rows", "a   1", "bb  22"]
    shown.say("second")
    shown.show([["bb", "33"]], "one row")
    assert screen.lines() == ["first", "second", "one row", "bb  33"]
    shown.clear()
    assert screen.lines() == ["first", "second"]
    shown.say("third")
    assert screen.lines() == ["first", "second", "third"]


def test_nothing_is_written_where_nothing_has_changed() -> None:
    screen = Screen()
    shown = table(screen)
    shown.show([["a"]])
    before = screen.getvalue()
    shown.show([["a"]])
    assert screen.getvalue() == before


def test_it_fits_the_terminal() -> None:
    """A row that wrapped, or a table that scrolled, could not be erased."""
    screen = Screen()
    table(screen, columns=10, lines=4).show([[f"{n} {'x' * 20}"] for n in range(9)], "title")
    assert screen.lines() == ["title", "0 xxxxxx…", "1 xxxxxx…"]


def test_what_is_left_stays() -> None:
    screen = Screen()
    shown = table(screen)
    shown.show([["a"]])
    shown.leave()
    screen.write("another's word\n")
    shown.show([["b"]])
    shown.clear()
    shown.say("line")
    assert screen.lines() == ["a", "another's word", "line"]


def test_a_stream_that_is_no_terminal_has_the_usual_size() -> None:
    screen = Screen()
    Table(screen).show([["x" * 100]])
    assert screen.lines() == ["x" * 78 + "…"]


def test_no_rows() -> None:
    assert align([]) == []
