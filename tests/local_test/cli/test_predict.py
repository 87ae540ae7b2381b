"""What a model in a container says reaches the terminal as text."""

import pytest

from local_test.cli.predict import _write


def test_what_a_model_prints_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    chunks = [b"cat \x1b[2", b"J9\xc3", b"\xa9%\n{", b"}\n\xc2\x9b31m\xe2\x80\xae", b""]
    _write(iter([*(("stdout", chunk) for chunk in chunks), ("stderr", b"\rpredict: gone\n")]))
    out, err = capsys.readouterr()
    assert out == "cat #033[2J9é%\n{}\n\\x9b31m\\u202e\n"
    assert err == "#015predict: gone\n"
