"""Any picture → RGB of the wanted size, or a line that names it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.errors import DatasetError
from dataset.sources import decode
from dataset.sources.archives import Member
from dataset.sources.decode import Decoder, Task


class OneFile:
    """A store of one picture."""

    kind = "zip"
    path = Path("pets.zip")

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, _member: Member) -> bytes:
        return self._content


def decoded(content: bytes, size: tuple[int, int]) -> np.ndarray:
    decoder = Decoder(OneFile(content), [Member("train/cat/1.png", 0)])
    answer = decoder(Task([0], size))
    if answer.damaged:
        raise DatasetError(answer.damaged[0])
    (image,) = answer.images
    return np.frombuffer(image, np.uint8).reshape(*size, 3)


def measured(content: bytes) -> tuple[int, int]:
    (size,) = Decoder(OneFile(content), [Member("train/cat/1.png", 0)])(Task([0]))
    return size


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_pixels_are_the_pictures() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    content = saved(Image.fromarray(pixels))
    assert measured(content) == (6, 9)
    assert (decoded(content, (6, 9)) == pixels).all()


def test_grey_becomes_three_equal_channels() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (decoded(saved(Image.fromarray(pixels)), (8, 8)) == pixels[..., None]).all()


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    pixels = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    assert (decoded(saved(Image.fromarray(pixels)), (8, 8)) == (pixels >> 8)[..., None]).all()


def test_palette_and_black_and_white() -> None:
    red = Image.new("RGB", (8, 8), "red")
    assert (decoded(saved(red.convert("P")), (8, 8)) == (255, 0, 0)).all()
    assert (decoded(saved(Image.new("1", (8, 8), 1)), (8, 8)) == 255).all()


def test_cmyk() -> None:
    content = saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert (decoded(content, (8, 8)) > 250).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode: str) -> None:
    hidden = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    options = {"transparency": 0} if mode == "P" else {}
    image = Image.new("P", (8, 8), 0) if mode == "P" else hidden.convert(mode)
    assert (decoded(saved(image, **options), (8, 8)) == 255).all()


def test_half_transparent_is_mixed_with_white() -> None:
    content = saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    assert (abs(decoded(content, (8, 8)).astype(int) - 127) <= 1).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_followed(kind: str) -> None:
    upright = Image.new("RGB", (8, 16), "white")
    upright.paste("black", (0, 0, 8, 8))  # the upper half
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen turned 90° clockwise
    content = saved(lying, kind, exif=exif)
    assert measured(content) == (16, 8)
    picture = decoded(content, (16, 8))
    assert (picture[:7] < 30).all()
    assert (picture[9:] > 225).all()


def test_broken_exif_is_no_reason_to_refuse() -> None:
    content = saved(Image.new("RGB", (8, 16), "red"), exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert measured(content) == (16, 8)
    assert (decoded(content, (16, 8)) == (255, 0, 0)).all()


def test_another_size_is_covered_and_cropped_evenly() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))  # the middle third is a square
    picture = decoded(saved(wide), (32, 32))
    assert (picture[:, 4:-4] == (0, 0, 255)).all()
    assert picture[..., 0].max() < 64  # at the edge Lanczos sees a little of what is cut off


def test_a_large_jpeg_is_as_if_decoded_in_full() -> None:
    y, x = np.mgrid[0:1200, 0:1600]
    smooth = np.stack([x * 255 // 1600, y * 255 // 1200, (x + y) * 255 // 2800], -1).astype(np.uint8)
    jpeg, png = (saved(Image.fromarray(smooth), kind) for kind in ("JPEG", "PNG"))
    difference = decoded(jpeg, (32, 32)).astype(int) - decoded(png, (32, 32))
    assert abs(difference).max() <= 4


def test_how_many_were_resized_is_known() -> None:
    decoder = Decoder(OneFile(saved(Image.new("RGB", (8, 8)))), [Member("a.png", 0)] * 3)
    assert decoder(Task([0, 1, 2], (8, 8))).resized == 0
    assert decoder(Task([0, 1, 2], (8, 9))).resized == 3


def png_header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and ends."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


GOOD_JPEG = saved(Image.effect_noise((64, 64), 80).convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a picture. Received: 0 bytes, no bytes"),
        (b"<html>404</html>", "is not a picture. Received: 16 bytes, 3c 68 74 6d 6c"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is not a picture"),
        (GOOD_JPEG[: len(GOOD_JPEG) // 2], "cannot be decoded: image file is truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is not a picture but a pointer of Git LFS"),
        (png_header_of(8, 8), "cannot be decoded"),
        (png_header_of(20_000, 20_000), "cannot be decoded: Image size .* exceeds limit .* decompression bomb"),
        (png_header_of(11_000, 11_000), "cannot be decoded: Image size .* exceeds limit .* decompression bomb"),
        (saved(Image.new("F", (8, 8)), "TIFF"), "cannot be decoded: pixels of mode F: 8 or 16 bits"),
    ],
)
def test_bad_pictures_are_named_in_a_line(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^pets.zip: train/cat/1.png {message}"):
        decoded(content, (8, 8))


def test_jpeg_cut_anywhere_is_decoded_or_named() -> None:
    for length in range(0, len(GOOD_JPEG), 37):
        try:
            assert decoded(GOOD_JPEG[:length], (64, 64)).shape == (64, 64, 3)
        except DatasetError as error:
            assert str(error).startswith("pets.zip: train/cat/1.png ")


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "b/c.png", "a.webp", "a.tif"])
def test_pictures_by_name(name: str) -> None:
    assert decode.is_picture(name)


@pytest.mark.parametrize("name", ["a.txt", "jpg", "Thumbs.db", "a.eps", "a.pdf", "a.jpg.txt", ".jpg"])
def test_others_by_name(name: str) -> None:
    assert not decode.is_picture(name)
