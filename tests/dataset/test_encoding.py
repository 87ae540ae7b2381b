"""--encoding: records of files. What TensorFlow decodes from them is what raw records hold, but for JPEG's own loss."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset.sources.synthetic import Synthetic

Command = Callable[..., tuple[int, str, str]]
SIZE = 24
RAW = SIZE * SIZE * 3


def smooth(seed: int, size: int = SIZE) -> Image.Image:
    """A picture as cameras make them: small as a JPEG, noisy enough to be large as a PNG."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    return Image.fromarray((np.asarray(coarse) + random.normal(0, 4, (size, size, 3))).clip(0, 255).astype(np.uint8))


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def lying(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture
def source(write_tree: Any, tmp_path: Path) -> Path:
    """Of each class and split: JPEG files of the size, of another size, grey, lying, bloated; a drawing; PNG."""
    files = {}
    for number, split in enumerate(("train", "validation")):
        for label in "ab":
            seed = 10 * number + ord(label)
            own = {
                "jpeg.jpg": save(smooth(seed), "JPEG", quality=80),
                "grey.jpg": save(smooth(seed + 100).convert("L"), "JPEG", quality=80),
                "large.jpg": save(smooth(seed + 200, 40), "JPEG"),
                "lying.jpg": save(smooth(seed + 300), "JPEG", exif=lying(6)),
                "cmyk.jpg": save(smooth(seed + 400).convert("CMYK"), "JPEG"),
                "bloated.jpg": save(smooth(seed + 500), "JPEG", comment=b"x" * RAW),
                "drawing.png": save(Image.new("RGB", (SIZE, SIZE), (seed, 0, 0)), "PNG"),
                "photo.png": save(smooth(seed + 600), "PNG"),
            }
            files |= {f"{split}/{label}/{name}": content for name, content in own.items()}
    return write_tree(tmp_path / "in", files)


def contents(out: Path) -> list[bytes]:
    """The pictures of the train records, in their order."""
    import tensorflow as tf

    paths = [str(path) for path in sorted((out / "train").iterdir())]
    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    return [tf.io.parse_single_example(one, features)["image"].numpy() for one in tf.data.TFRecordDataset(paths)]


def decoded(out: Path) -> np.ndarray:
    """The pictures of the train channel, in their order, as the training program reads them."""
    from train.input_pipeline import pipeline
    from train.records.channels import open_channel
    from train.runtime.dataset_info import ImageDatasetInfo
    from train.runtime.environment import Channel

    described = json.loads((out / "dataset.json").read_text())
    info = ImageDatasetInfo(tuple(described["image_shape"]), tuple(described["classes"]))
    batches = pipeline.for_validation(open_channel(Channel("train", "File", out)), info, 8)
    return np.concatenate([images.numpy().astype(int) for images, _ in batches])


def test_files_hold_what_raw_records_hold(command: Command, source: Path, tmp_path: Path) -> None:
    for encoding in ("raw", "png", "jpeg"):
        words = ("--source", source, "--out", tmp_path / encoding, "--image-size", SIZE, "--encoding", encoding)
        code, _, errors = command("prepare", *words)
        assert code == 0, errors
        assert json.loads((tmp_path / encoding / "dataset.json").read_text()).get("encoding", "raw") == encoding
    raw, png, jpeg = (decoded(tmp_path / encoding) for encoding in ("raw", "png", "jpeg"))
    assert len(raw) == 16
    assert (png == raw).all()
    assert all(one.startswith(b"\x89PNG") for one in contents(tmp_path / "png"))
    assert np.abs(jpeg - raw).max() <= 24
    assert np.abs(jpeg - raw).mean() < 2
    files = contents(tmp_path / "jpeg")
    originals = {path.read_bytes(): path.name for path in source.glob("train/*/*")}
    assert sorted(originals[one] for one in files if one in originals) == [
        *("drawing.png", "drawing.png", "grey.jpg", "grey.jpg", "jpeg.jpg", "jpeg.jpg"),
    ]
    assert json.loads((tmp_path / "jpeg/dataset.json").read_text())["source"]["kept"] == 8  # in both splits
    assert sum(one.startswith(b"\x89PNG") for one in files) == 2  # the drawings: smaller so
    assert max(map(len, files)) < RAW


def test_larger_than_raw_is_said(command: Command, write_tree: Any, picture: Any, tmp_path: Path) -> None:
    """Noise can't be packed."""
    names = [f"{split}/{label}/1.png" for split in ("train", "val") for label in "ab"]
    source = write_tree(tmp_path / "in", {name: picture(seed) for seed, name in enumerate(names)})
    _, _, errors = command("prepare", "--source", source, "--out", tmp_path / "data", "--encoding", "png")
    assert "--encoding raw would be smaller: 0.0 MB, not 0.0 MB, and faster to read" in errors


def test_drawn_shapes_too(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataset.prepare

    monkeypatch.setattr(dataset.prepare, "Synthetic", lambda *words, **more: Synthetic(*words, counts=(40, 10), **more))
    for encoding in ("raw", "png"):
        assert command("prepare", "--source", "synthetic", "--out", tmp_path / encoding, "--encoding", encoding)[0] == 0
    assert (decoded(tmp_path / "raw") == decoded(tmp_path / "png")).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "bc953f4906f9cb32a895397d6e837c64596a780417e448c4c3ef2446a0683aa2"),
        (("--image-size", 12), "6c95745263896b945ec12c4ca50ce2a26ab4696d1c6c0049108d25a51cc13612"),
    ],
)
def test_what_is_written_without_options_stays_the_same(
    command: Command, write_tree: Any, tree: Any, tmp_path: Path, options: tuple[object, ...], expected: str
) -> None:
    """Byte for byte, as version 0.1.0 wrote it from this archive; its name is in dataset.json."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    assert command("prepare", "--source", tmp_path / "a.zip", "--out", tmp_path / "data", *options)[0] == 0
    files = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest() == expected


def test_other_options_are_not_passed_off_as_these(command: Command, source: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "data")
    assert command("prepare", "--source", source, *out, "--encoding", "png")[0] == 0
    assert command("prepare", *out, "--encoding", "png")[0] == 0
    code, _, errors = command("prepare", *out, "--encoding", "jpeg")
    assert (code, "with another --encoding. Received: jpeg, there: png" in errors) == (1, True)
    code, _, errors = command("prepare", *out, "--validation-split", "0.2")
    assert (code, "with another --validation-split. Received: 0.2, there: None" in errors) == (1, True)
