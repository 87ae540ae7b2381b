import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from local_test.runners.logs import LINE_BYTES, Lines, LogFile, clean


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 400)))
def test_lines_do_not_depend_on_where_chunks_end(parts: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(part.replace(b"\n", b"") for part in parts)
    places = sorted({cut for cut in cuts if cut < len(data)} | {0, len(data)})
    lines = Lines()
    found = [line for a, b in itertools.pairwise(places) for line in lines.feed(data[a:b])] + lines.end()
    expected = data.split(b"\n")
    assert found == [clean(line) for line in (expected if expected[-1] else expected[:-1])]


def test_a_character_split_between_chunks_is_whole() -> None:
    lines = Lines()
    assert lines.feed("é".encode()[:1]) == []
    assert lines.feed("é".encode()[1:] + b"\n") == ["é"]


def test_control_characters_look_as_in_the_service_logs() -> None:
    assert clean(b"[0]\ttrain-error:0.1") == "[0]#011train-error:0.1"
    assert clean(b"50%\r100%\r") == "50%#015100%"
    assert clean(b"\x1b[1m") == "#033[1m"
    assert clean(b"\xff") == "�"


def test_output_without_newlines_arrives_in_pieces_and_memory_stays_bounded() -> None:
    lines = Lines()
    found = [len(line) for _ in range(10) for line in lines.feed(b"x" * 100_000)]
    assert set(found) == {LINE_BYTES}
    assert sum(found) + len(lines.end()[0]) == 1_000_000


def test_a_line_is_on_disk_when_it_was_written(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs/algo-1.log")
    log.write(["first"])
    assert (tmp_path / "logs/algo-1.log").read_text() == "first\n"
    log.close()
