"""Any picture becomes what `dataset prepare` would have made of it."""

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.sources import decode
from train.errors import DataError
from train.predict import pictures
from train.predict.pictures import find_pictures, read_picture

SHAPE = (18, 24, 3)
NOISE = np.random.default_rng(3).integers(0, 256, (40, 60, 4), np.uint8)


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    return file(Image.fromarray(NOISE[:, :, :3]), "JPEG", exif=exif)


ODD = {
    "grey": file(Image.fromarray(NOISE[:, :, 0])),
    "grey and alpha": file(Image.fromarray(NOISE).convert("LA")),
    "16 bits of grey": file(Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257)),
    "rgba": file(Image.fromarray(NOISE)),
    "palette": file(Image.fromarray(NOISE[:, :, :3]).quantize(17)),
    "transparent palette": file(Image.fromarray(NOISE[:, :, :3]).quantize(17), "GIF", transparency=3),
    "one bit": file(Image.fromarray(NOISE[:, :, 0]).convert("1")),
    "cmyk": file(Image.fromarray(NOISE[:, :, :3]).convert("CMYK"), "JPEG"),
    "webp": file(Image.fromarray(NOISE), "WEBP"),
    "large jpeg": file(Image.fromarray(NOISE[:, :, :3]).resize((900, 700)), "JPEG"),
    "one pixel": file(Image.fromarray(NOISE[:1, :1, :3])),
    "very wide": file(Image.fromarray(NOISE[:1, :, :3])),
    "its own size": file(Image.fromarray(NOISE[:18, :24, :3])),
    **{f"orientation {number}": with_orientation(number) for number in (3, 6, 8)},
}


@pytest.mark.parametrize("name", ODD)
def test_a_picture_is_made_as_the_data_set_was(tmp_path: Path, name: str) -> None:
    (tmp_path / "picture").write_bytes(ODD[name])
    expected = decode.pixels(Image.open(io.BytesIO(ODD[name])), SHAPE[:2])
    found = read_picture(str(tmp_path / "picture"), SHAPE, "raw")
    assert (found.dtype, found.shape, found.tobytes()) == (np.uint8, SHAPE, expected)
    assert read_picture(str(tmp_path / "picture"), (18, 24, 1), "raw").shape == (18, 24, 1)


def test_formats_and_suffixes_are_those_of_the_data_set() -> None:
    assert (pictures.FORMATS, pictures.SUFFIXES) == (decode.FORMATS, decode.SUFFIXES)


def bomb() -> bytes:
    """A PNG whose header says 30,000 × 30,000 pixels."""
    data = bytearray(file(Image.new("RGB", (1, 1))))
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture. Received: 0 bytes, none …"),
        (b"<html>", "not a picture. Received: 6 bytes, 3c 68 74 6d 6c 3e …"),
        (ODD["rgba"][:2000], "cannot be decoded: "),
        (ODD["cmyk"][:700], "cannot be decoded: "),
        (bomb(), "cannot be decoded: Image size (900000000 pixels) exceeds limit"),
        (file(Image.fromarray(NOISE[:, :, 0].astype(np.float32)), "TIFF"), "cannot be decoded: pixels of mode F"),
    ],
)
def test_what_is_no_picture_is_said_in_a_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(DataError) as found:
        read_picture(str(tmp_path / "picture.png"), SHAPE, "raw")
    assert str(found.value).startswith(message)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda _: None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "picture.png")
    with pytest.raises(DataError, match=message):
        read_picture(str(tmp_path / "picture.png"), SHAPE, "raw")


def test_a_folders_pictures_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "a.webp", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.removeprefix(f"{tmp_path}/") for path in find_pictures(str(tmp_path))]
    assert found == ["a.webp", "b/1.png", "b/2.JPG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in the folder"):
        list(find_pictures(str(tmp_path / "empty")))
