"""Picture files → what the model takes, made as `python -m dataset prepare` makes the pictures that it learns from.

FORMATS, SUFFIXES and what turns a file upright, into RGB and into a size are those of dataset/sources/decode.py, which
is not in the image; a test holds them equal.
"""

import io
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from train.errors import DataError

Size = tuple[int, int]  # height, width

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k"),
)
FILE_LIMIT = 256 << 20  # bytes; a "picture" larger than this is a bomb or a mistake
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would be waited for


def find_pictures(path: str) -> Iterator[str]:
    """The path itself; of a folder the picture files below it, by their suffixes, sorted. DataError if it has none."""
    if not Path(path).is_dir():
        yield path
        return
    found = False
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if is_picture(name) and not name.startswith("."):
                found = True
                yield f"{folder}/{name}"
    if not found:
        raise DataError(f"no picture in the folder. Expected: files such as {', '.join(SUFFIXES[:6])}")


def read_picture(path: str, shape: tuple[int, int, int], encoding: str) -> np.ndarray:
    """(height, width, channels) uint8. `encoding` is that of the records the model learned from.

    DataError, without the path, for what is no picture or can't be decoded.
    """
    data = _read(path)
    size, channels = shape[:2], shape[2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if encoding == "jpeg" and is_kept(image, size):
                    return tf.io.decode_jpeg(data, channels=channels).numpy()  # what the training program does with it
                rgb = Image.frombytes("RGB", (size[1], size[0]), pixels(image, size))
    except UnidentifiedImageError:
        raise DataError(f"not a picture. Received: {len(data):,} bytes, {data[:8].hex(' ') or 'none'} …") from None
    except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
        raise DataError(f"cannot be decoded: {_explain(error)}") from None
    return np.asarray(rgb.convert("L"))[..., None] if channels == 1 else np.asarray(rgb)


def _read(path: str) -> bytes:
    try:
        with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError("not a file")
            data = file.read(FILE_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {_explain(error)}") from None
    if len(data) > FILE_LIMIT:
        raise DataError(f"too large for a picture: over {FILE_LIMIT:,} bytes")
    return data


def _explain(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def is_picture(path: str) -> bool:
    """By name: what has a picture's suffix must decode, what has not is left out and counted."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def is_kept(image: Image.Image, size: Size) -> bool:
    """Whether `--encoding jpeg` can keep the file as it is: TensorFlow decodes it to the pixels that are to be seen."""
    return (
        image.format == "JPEG"
        and image.mode in ("RGB", "L")
        and (image.height, image.width) == size
        and _orientation(image) == 1
    )


def _orientation(image: Image.Image) -> int:
    """1 (upright) to 8 (EXIF tag 0x0112). Metadata beyond reading is no reason to refuse a picture."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def pixels(image: Image.Image, size: Size) -> bytes:
    """Raw RGB, `size` × 3 bytes. Another size is scaled to cover it (Lanczos), and what juts out is cut off evenly.

    Covering and cutting keeps proportions: a stretched cat is another shape, a cropped one is still a cat.
    """
    height, width = size
    # a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, many times faster; twice the wanted size leaves Lanczos
    # its work
    image.draft(None, (2 * max(size), 2 * max(size)))
    image = to_rgb(ImageOps.exif_transpose(image) if _orientation(image) > 1 else image)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return image.tobytes()


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB from any mode: transparency lies on white, 16-bit grey is scaled (Pillow alone would clip it)."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode}: 8 or 16 bits a channel expected")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
