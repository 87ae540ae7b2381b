"""A picture file's bytes → raw pixels."""

import hashlib
import io
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dataset.errors import DatasetError, describe_error
from dataset.sources.archives import Member, Store

Size = tuple[int, int]  # height, width

# what `Image.open` may try; left out are formats that start other programs (EPS) or have no pixels of their own (PDF)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
_LFS_POINTER = b"version https://git-lfs"
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k"),
)


def is_picture(path: str) -> bool:
    """By name: what has a picture's suffix must decode, what has not is left out and counted."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Task:
    """Pictures `indices` of a Decoder's members: to be measured, or to be decoded to `size` and encoded."""

    indices: list[int]
    size: Size | None = None
    encoding: str = "raw"


@dataclass(frozen=True)
class Places:
    """Files `indices` of a Decoder's members: where their content lies in [0, 1), drawn by seed."""

    indices: list[int]
    seed: int


@dataclass
class Decoded:
    """Records' pictures, how many of them had another size, and how many are the files as they were. `damaged`: what is
    wrong with the task's other pictures, by number; they are b"" in `images`."""

    images: list[bytes]
    resized: int
    kept: int
    damaged: dict[int, str]


class Decoder:
    """What a decoding process holds: a store and its pictures, by number."""

    def __init__(self, store: Store, members: list[Member]) -> None:
        self._store = store
        self._members = members

    def __call__(self, task: Task | Places) -> Decoded | list[Size | None] | list[float]:
        """Decoded, or the pictures' sizes if the task has none: None of a damaged one."""
        if isinstance(task, Places):
            return [find_place(self._content(index), task.seed) for index in task.indices]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if task.size is None:
                return [self._measure(index) for index in task.indices]
            return self._decode(task.indices, task.size, task.encoding)

    def _content(self, index: int) -> bytes:
        """A file that can't be read is told when it is to be decoded."""
        try:
            return self._store.read(self._members[index])
        except DatasetError:
            return b""

    def _measure(self, index: int) -> Size | None:
        with suppress(DatasetError), self._picture(index) as picture:
            return upright_size(picture.image)
        return None

    def _decode(self, indices: list[int], size: Size, encoding: str) -> Decoded:
        decoded = Decoded([], 0, 0, {})
        for index in indices:
            try:
                image, resized, kept = self._decode_one(index, size, encoding)
            except DatasetError as error:
                decoded.damaged[index] = str(error)
                image, resized, kept = b"", False, False
            decoded.images.append(image)
            decoded.resized += resized
            decoded.kept += kept
        return decoded

    def _decode_one(self, index: int, size: Size, encoding: str) -> tuple[bytes, bool, bool]:
        """The record's picture; whether it had another size, and is the file as it was. Raises DatasetError naming
        picture and store."""
        with self._picture(index) as picture:
            resized = upright_size(picture.image) != size
            keep = encoding == "jpeg" and len(picture.data) < size[0] * size[1] * 3 and is_kept(picture.image, size)
            raw = pixels(picture.image, size)  # of one that is kept, too: it must not be damaged
            return picture.data if keep else encode(raw, size, encoding), resized, keep

    def _picture(self, index: int) -> "_Picture":
        member = self._members[index]
        return _Picture(f"{self._store.path}: {member.path}", self._store.read(member))


class _Picture:
    """An open image whose every failure is a DatasetError with its name: Pillow fails when opened or when loaded."""

    image: Image.Image

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self.data = data

    def __enter__(self) -> "_Picture":
        try:
            self.image = Image.open(io.BytesIO(self.data), formats=FORMATS)
        except Exception as error:
            raise self._failure(error) from None
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.image.close()
        # damaged files make Pillow's plugins raise nearly anything: OSError, SyntaxError, ValueError, struct.error, …
        if isinstance(error, Exception):
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> DatasetError:
        if self.data.startswith(_LFS_POINTER):
            return DatasetError(f"{self._name} is not a picture but a pointer of Git LFS: `git lfs pull` fetches it")
        if isinstance(error, UnidentifiedImageError):
            start = self.data[:8].hex(" ") or "no bytes"
            return DatasetError(f"{self._name} is not a picture. Received: {len(self.data):,} bytes, {start} …")
        return DatasetError(f"{self._name} cannot be decoded: {describe_error(error)}")


def is_kept(image: Image.Image, size: Size) -> bool:
    """Whether `--encoding jpeg` can keep the file as it is: TensorFlow decodes it to the pixels that are to be seen."""
    return (
        image.format == "JPEG"
        and image.mode in ("RGB", "L")
        and (image.height, image.width) == size
        and _orientation(image) == 1
    )


def upright_size(image: Image.Image) -> Size:
    """Height and width as it is to be seen. EXIF orientations 5 to 8 lie on their side."""
    width, height = image.size
    # not asked of a square: for a PNG the answer costs decoding it
    lying = width != height and _orientation(image) >= 5
    return (width, height) if lying else (height, width)


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


def encode(raw: bytes, size: Size, encoding: str) -> bytes:
    """Raw RGB, `size` × 3 bytes, as a record has it: as it is, as a PNG file, or as a JPEG file unless PNG is smaller.

    JPEG of quality 95 without subsampled colours: small pictures have no detail to spare.
    """
    if encoding == "raw":
        return raw
    image = Image.frombytes("RGB", (size[1], size[0]), raw)
    files = [_save(image, "PNG")]
    if encoding == "jpeg":
        files.append(_save(image, "JPEG", quality=95, subsampling=0, optimize=True))
    return min(files, key=len)


def _save(image: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def find_place(content: bytes, seed: int) -> float:
    """A file's place in [0, 1): the same wherever it lies and whatever lies beside it, another for another seed."""
    digest = hashlib.blake2b(content, digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") / (1 << 64)


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
