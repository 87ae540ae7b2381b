"""What reaches a terminal: of the platform, of a launch and of the data's commands, which share no code."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset.errors
import launch.core.console
import local_test.util.console
from local_test.cli.options import say
from local_test.cli.progress import Display
from local_test.util.console import warn_on_stderr
from local_test.util.live_table import Table

both = pytest.mark.parametrize("printable", [launch.core.console.printable, local_test.util.console.printable])
HOSTILE = "\x1b]0;title\x07 \x9b31m \x07 \r \u202e gnp.exe \u2066 \udc80"
SHOWN = r"\x1b]0;title\x07 \x9b31m \x07 \r \u202e gnp.exe \u2066 \udc80"


@both
@given(text=st.text())
def test_nothing_moves_the_cursor_or_turns_the_text(printable, text) -> None:
    shown = printable(text)
    assert all(letter in "\t\n" or (ord(letter) >= 32 and not 127 <= ord(letter) < 160) for letter in shown)
    assert not set(shown) & set("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode()


@both
def test_a_text_in_any_language_stays_as_it_is(printable) -> None:
    text = "é 訓練 שלום 🙂\tx\ny #033[1m a://b c:d@e s3://bucket/a:b@c"
    assert printable(text) == text


@both
@pytest.mark.parametrize("password", ["secret", "se:cret", "se@cret", "s%40cret"])
def test_the_password_of_an_address_is_hidden(printable, password) -> None:
    text, hidden = f"no answer: https://me:{password}@host:1/x?", "no answer: https://me:***@host:1/x?"
    assert printable(text) == hidden
    assert dataset.errors.to_one_line(ValueError(text)) == hidden


def test_every_way_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = StringIO()
    display, table = Display(screen, screen), Table(screen, lambda: (200, 20))
    display.on_line(HOSTILE, "algo-1")
    display.on_note(HOSTILE)
    display.say(f"FailureReason: {HOSTILE}")
    table.say(HOSTILE)
    assert screen.getvalue().count(SHOWN) == 4
    table.show([[HOSTILE]], HOSTILE)
    assert screen.getvalue().count(SHOWN) == 6
    say(HOSTILE)
    warn_on_stderr(HOSTILE)
    launch.core.console.say(HOSTILE)
    launch.core.console.say_error(HOSTILE)
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count(SHOWN) == 4
