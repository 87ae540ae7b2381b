"""`inspect` as it is used: what it counts, and every kind of damage named by shard and record."""

import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset import tfrecord
from tests.support.browser import browse, find_serious, open_page

Command = Callable[..., tuple[int, str, str]]
SHARD = "train/train-00000-of-00004.tfrecord"
RECORD = 246  # bytes of an 8×8 picture with its label, framed


@pytest.fixture
def data(command: Command, write_tree: Any, tree: dict[str, bytes], tmp_path: Path) -> Path:
    """Prepared: 4 + 1 shards of raw 8×8 pictures, 40 + 8."""
    words = ("--source", write_tree(tmp_path / "in", tree), "--out", tmp_path / "data", "--shards", 4)
    assert command("prepare", *words)[0] == 0
    return tmp_path / "data"


def picture(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, 8 * 8 * 3, np.uint8).tobytes()


def write(path: Path, *examples: tuple[bytes, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(tfrecord.frame(tfrecord.example(*one)) for one in examples))


def read_frames(path: Path) -> list[bytes]:
    """Each record with its frame."""
    content, frames = path.read_bytes(), []
    while content:
        size = struct.unpack("<Q", content[:8])[0] + 16
        frames.append(content[:size])
        content = content[size:]
    return frames


def test_a_healthy_data_set_in_45_columns(command: Command, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "45")
    code, said, errors = command("inspect", data)
    assert code == 0
    assert said.splitlines()[1:] == [
        "source: folder in",
        "class                       train validation",
        "cat                            20          4",
        "dog                            20          4",
        "records                        40          8",
        "shards                          4          1",
        "MB                          0.010      0.002",
        "nothing is wrong",
    ]
    assert said.startswith(f"{data}: 2 classes; 48 raw 8×8×3\n")
    assert errors.startswith("inspect: ")


def flip(position: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    return change


def insert(*examples: tuple[bytes, int]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        frames = [tfrecord.frame(tfrecord.example(*one)) for one in examples]
        path.write_bytes(path.read_bytes() + b"".join(frames))

    return change


def as_png(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "data": (flip(2 * RECORD + 50), f"{SHARD}, record 2: its data is damaged (CRC)"),
    "length": (flip(3 * RECORD), f"{SHARD}, record 3: its length is damaged (CRC) at byte 738: no more is read"),
    "cut inside": (
        lambda path: path.write_bytes(path.read_bytes()[: 4 * RECORD + 99]),
        f"{SHARD}, record 4: the file ends inside the record, at byte 1,083",
    ),
    "cut in the head": (
        lambda path: path.write_bytes(path.read_bytes()[: RECORD + 5]),
        f"{SHARD}, record 1: the file ends inside the record's head, at byte 251",
    ),
    "huge": (
        lambda path: path.write_bytes((size := struct.pack("<Q", 1 << 40)) + tfrecord.masked_crc(size)),
        f"{SHARD}, record 0: it has 1,099,511,627,776 bytes: no more is read",
    ),
    "label": (insert((picture(1), 7)), f"{SHARD}, record 10: label 7. Expected: 0 to 1"),
    "size": (
        insert((picture(1)[:-1], 1)),
        f"{SHARD}, record 10: its picture has 191 bytes. Expected: 8×8×3 = 192, or a JPEG or PNG file",
    ),
    "no example": (
        lambda path: path.write_bytes(path.read_bytes() + tfrecord.frame(b"\x0a\xff")),
        f"{SHARD}, record 10: no tf.train.Example as expected: a number without an end at byte 1",
    ),
    "no feature": (
        lambda path: path.write_bytes(path.read_bytes() + tfrecord.frame(b"")),
        f"{SHARD}, record 10: no tf.train.Example as expected: no feature image",
    ),
    "broken png": (insert((as_png(1)[:100], 1)), f"{SHARD}, record 10: its PNG cannot be decoded: "),
    "large png": (insert((as_png(1, (9, 8)), 1)), f"{SHARD}, record 10: its PNG is 9×8. Expected: 8×8"),
    "mixture": (insert((as_png(1), 1)), "train has pixels and files. Received: 40 raw 8×8×3, 1 PNG 8×8."),
    "missing": (Path.unlink, f"{SHARD} is missing"),
    "stranger": (
        lambda path: write(path.with_name("other.tfrecord"), (picture(1), 1)),
        "train/other.tfrecord is not in dataset.json, but a channel reads it",
    ),
    "changed": (insert((picture(1), 1)), f"{SHARD} is not what dataset.json says. Received: 2,706 bytes, 11 records,"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(command: Command, data: Path, kind: str) -> None:
    change, message = DAMAGE[kind]
    assert {len(frame) for frame in read_frames(data / SHARD)} == {RECORD}
    change(data / SHARD)
    code, said, _ = command("inspect", data)
    assert code == 1
    assert any(line.startswith(f"wrong: {message}") for line in said.splitlines()), said


def test_copies_between_splits_and_with_two_labels(command: Command, data: Path) -> None:
    frames = read_frames(data / "train/train-00002-of-00004.tfrecord")
    validation = data / "validation/validation-00000-of-00001.tfrecord"
    validation.write_bytes(validation.read_bytes() + frames[3] + frames[5])
    other = tfrecord.frame(frames[5][12:-5] + bytes([1 - frames[5][-5]]))  # the label is the record's last byte
    (data / SHARD).write_bytes((data / SHARD).read_bytes() + frames[3] + other)
    code, said, _ = command("inspect", data)
    assert code == 1
    copies = [line for line in said.splitlines() if "the same picture in both splits" in line]
    assert len(copies) == 2
    assert any(f"{SHARD}, record 10 = validation/validation-00000-of-00001.tfrecord, record 8" in one for one in copies)
    assert any(f"{SHARD}, record 11 = validation/validation-00000-of-00001.tfrecord, record 9" in one for one in copies)
    assert "note: pictures that are a copy of another one of their split: 2" in said
    torn = next(line for line in said.splitlines() if "with two labels" in line)
    assert re.search(r"train-00000-of-00004\.tfrecord, record 11 \((cat|dog)\) = train/train-00002.*record 5 \(", torn)
    assert len(set(re.findall(r"\((cat|dog)\)", torn))) == 2


def test_many_problems_are_counted(command: Command, data: Path) -> None:
    write(data / SHARD, *((picture(number), 9) for number in range(100)))
    _, said, _ = command("inspect", data)
    assert said.count("label 9. Expected: 0 to 1") == 20
    assert "wrong: 80 more records are damaged or wrong" in said


def test_a_class_without_pictures(command: Command, data: Path) -> None:
    document = json.loads((data / "dataset.json").read_text())
    document["classes"].append("bird\x1b[2J")
    (data / "dataset.json").write_text(json.dumps(document))
    code, said, _ = command("inspect", data)
    assert code == 1
    assert "wrong: validation has no picture of bird\\x1b[2J" in said
    assert "\x1b" not in said


def test_without_a_description(command: Command, data: Path) -> None:
    (data / "dataset.json").unlink()
    code, said, _ = command("inspect", data)
    assert code == 0
    assert "no dataset.json: nothing says sizes and names of classes" in said
    assert "48 raw 192 bytes" in said
    assert re.search(r"^label 1 +20 +4$", said, flags=re.MULTILINE)
    code, said, _ = command("inspect", data / "train")
    assert code == 0
    assert re.search(r"^label 0 +20$", said, flags=re.MULTILINE)
    # a channel reads what else lies beside shards, unless it is empty or hidden
    for path in ("LICENSE", "train/notes.txt", "train/_SUCCESS", "train/.DS_Store"):
        (data / path).write_text("" if "SUCCESS" in path else "x")
    code, said, _ = command("inspect", data)
    assert code == 1
    assert [line for line in said.splitlines() if line.startswith("wrong")] == [
        "wrong: train/notes.txt is no shard, but a channel reads it"
    ]
    # whatever labels there are: no list of all below them
    write(data / "train/one.tfrecord", (picture(1), (1 << 63) - 1))
    assert "label 9223372036854775807" in command("inspect", data)[1]


def test_in_s3_it_says_the_same(command: Command, s3: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address by its option alone; damage is found there, too."""
    (data / SHARD).write_bytes(read_frames(data / SHARD)[0] + b"x")
    for path in (path for path in data.rglob("*") if path.is_file()):
        s3.upload_file(str(path), "pets", f"some/data/{path.relative_to(data).as_posix()}")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    address = ("--endpoint-url", s3.meta.endpoint_url)
    code, said, _ = command("inspect", "s3://pets/some/data", *address)
    assert (code, said) == (1, command("inspect", data)[1].replace(str(data), "s3://pets/some/data"))
    assert "record 1: the file ends inside the record's head" in said
    code, _, errors = command("inspect", "s3://nowhere/data", *address)
    assert (code, "no such bucket: nowhere" in errors) == (1, True)
    code, _, errors = command("inspect", "s3://pets/other", *address)
    assert (code, "no shards in s3://pets/other. Expected: what" in errors) == (1, True)


def test_upload_takes_the_address_as_an_option(
    command: Command, s3: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    words = ("--bucket", "pets", "--data", data, "--endpoint-url", s3.meta.endpoint_url)
    assert command("upload", *words)[0] == 0
    assert len(s3.list_objects_v2(Bucket="pets")["Contents"]) == 6


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nowhere", "no such folder. Received: nowhere. Expected: a prepared folder, or s3://BUCKET/PREFIX"),
        ("pyproject.toml", "not a folder. Received: pyproject.toml."),
        ("s3://", "no bucket. Received: s3://. Expected: s3://BUCKET/PREFIX"),
        ("launch", "no shards in launch. Expected: what `python -m dataset prepare` writes"),
    ],
)
def test_what_is_no_data_set_is_one_line(command: Command, where: str, message: str) -> None:
    code, said, errors = command("inspect", where)
    assert (code, said) == (1, "")
    assert errors.startswith(f"dataset: {message}")
    assert errors.count("\n") == 1


def test_files_in_records_on_many_processes(command: Command, write_tree: Any, tmp_path: Path) -> None:
    """More than a few megabytes: each shard in a process."""
    photo = Image.effect_noise((400, 400), 60).convert("RGB")
    file = io.BytesIO()
    photo.save(file, "PNG")
    names = [f"{split}/{label}/{n}.png" for split in ("train", "val") for label in "ab" for n in range(16)]
    source = write_tree(tmp_path / "in", {name: file.getvalue() + str(n).encode() for n, name in enumerate(names)})
    words = ("--source", source, "--out", tmp_path / "data", "--shards", 4, "--encoding", "png")
    assert command("prepare", *words)[0] == 0
    code, said, _ = command("inspect", tmp_path / "data", "--html", tmp_path / "page.html")
    assert code == 1  # one picture everywhere
    assert "64 PNG 400×400" in said
    assert "wrong: 12 more pictures are there twice, in both splits" in said
    assert "wrong: 12 more pictures are there twice, with two labels" in said
    assert "note: pictures that are a copy of another one of their split: 31" in said
    assert (tmp_path / "page.html").stat().st_size < 2_000_000


def test_the_page_in_a_browser(command: Command, data: Path, tmp_path: Path) -> None:
    document = json.loads((data / "dataset.json").read_text())
    document["classes"] = ["<img src=x onerror=alert(1)>", "a long name " * 12]
    (data / "dataset.json").write_text(json.dumps(document))
    flip(60)(data / SHARD)
    page = tmp_path / "page.html"
    assert command("inspect", data, "--html", page)[0] == 1
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    assert "://" not in page.read_text()
    with browse() as browser:
        for width, scheme in ((390, "light"), (1280, "dark")):
            with open_page(
                browser, page.as_uri(), viewport={"width": width, "height": 900}, color_scheme=scheme
            ) as shown:
                assert find_serious(shown) == []
                assert shown.evaluate("document.documentElement.scrollWidth") <= width
                assert shown.locator("h3").first.inner_text() == "<img src=x onerror=alert(1)>"
                assert shown.locator("section img").count() == 2 * (12 + 4)
                assert shown.evaluate("[...document.images].every(image => image.naturalWidth === 8)")
                assert "its data is damaged (CRC)" in shown.locator("li").first.inner_text()


def test_a_page_that_can_not_be_written(command: Command, data: Path, tmp_path: Path) -> None:
    for path, message in ((tmp_path / "no/page.html", "No such file or directory"), (data, "--html is not a file")):
        code, said, errors = command("inspect", data, "--html", path)
        assert (code, said) == (1, "")
        assert message in errors.splitlines()[-1]
