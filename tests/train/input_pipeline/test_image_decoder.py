"""JPEG and PNG in records: the same pictures as pixels would be, in order, or one line that says which is not."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.opt_ml import job_folder
from tests.support.shards import CLASSES, SHAPE, channel_bytes, examples, picture_file, write_shard
from train.errors import DataError
from train.input_pipeline import pipeline
from train.input_pipeline.image_decoder import image_format, is_complete
from train.records.channels import open_channel
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel

PICTURES = ImageDatasetInfo(SHAPE, CLASSES)


def record(data: bytes, label: int) -> bytes:
    import tensorflow as tf

    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def write(folder, records: list[bytes], name: str = "train") -> None:
    write_shard(folder / name / "a.tfrecord", records)


def read(folder, content: ImageDatasetInfo = PICTURES) -> tuple[np.ndarray, np.ndarray]:
    reader = open_channel(Channel("train", "File", folder))
    batches = list(pipeline.for_validation(reader, content, 32))
    return np.concatenate([b[0].numpy() for b in batches]), np.concatenate([b[1].numpy() for b in batches])


def enlarged(data: bytes, place: int) -> bytes:
    """The file with 13000×13000 pixels in its header, where the size is at `place`: half a gigabyte to decode."""
    side = (13_000).to_bytes(4 if data.startswith(b"\x89PNG") else 2, "big")
    return data[:place] + side * 2 + data[place + 2 * len(side) :]


def test_png_is_what_the_pixels_were(tmp_path):
    images, labels = examples(150)
    write(
        tmp_path, [record(picture_file(image, "PNG"), int(label)) for image, label in zip(images, labels, strict=True)]
    )
    got = read(tmp_path)
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], labels)


def test_jpeg_is_what_tensorflow_decodes(tmp_path):
    import tensorflow as tf

    images, labels = examples(70)
    files = [picture_file(image, "JPEG") for image in images]
    write(tmp_path, [record(data, int(label)) for data, label in zip(files, labels, strict=True)])
    np.testing.assert_array_equal(read(tmp_path)[0], np.stack([tf.io.decode_jpeg(data).numpy() for data in files]))


def test_both_kinds_in_one_channel_and_grey_ones_become_coloured(tmp_path):
    images, _ = examples(2)
    grey = images[1, :, :, 0]
    write(tmp_path, [record(picture_file(images[0], "PNG"), 0), record(picture_file(grey, "PNG"), 1)])
    np.testing.assert_array_equal(read(tmp_path)[0], [images[0], np.repeat(grey[..., None], 3, axis=2)])


def test_the_order_of_shuffling_is_that_of_the_records_not_of_the_decoding(tmp_path):
    images, labels = examples(200)
    write(tmp_path / "png", [record(picture_file(i, "PNG"), int(k)) for i, k in zip(images, labels, strict=True)])
    write(tmp_path / "raw", [record(i.tobytes(), int(k)) for i, k in zip(images, labels, strict=True)])
    orders = []
    for name in ("png", "raw"):
        reader = open_channel(Channel("train", "File", tmp_path / name))
        orders.append([b[0].numpy().tobytes() for b in pipeline.for_training(reader, PICTURES, 32, 64, 1, 0)])
    assert orders[0] == orders[1]


def test_a_bad_picture_among_shuffled_ones_is_named(tmp_path):
    images, labels = examples(90)
    files = [picture_file(image, "PNG") for image in images]
    files[70] = files[70][:40]
    write(tmp_path, [record(data, int(label)) for data, label in zip(files, labels, strict=True)])
    reader = open_channel(Channel("train", "File", tmp_path))
    with pytest.raises(DataError, match=r"record 70 at byte \d+: the PNG can't be decoded"):
        list(pipeline.for_training(reader, PICTURES, 16, 40, 1, 0))


def test_files_are_shuffled_before_they_are_decoded(tmp_path, monkeypatch):
    images, labels = examples(300)
    write(tmp_path, [record(picture_file(i, "PNG"), int(k)) for i, k in zip(images, labels, strict=True)])
    widths = []
    shuffled = pipeline.shuffle_records
    monkeypatch.setattr(pipeline, "shuffle_records", lambda *given: (widths.append(given[1]), shuffled(*given))[1])
    reader = open_channel(Channel("train", "File", tmp_path))
    batches = list(pipeline.for_training(reader, PICTURES, 32, 64, 1, 0))
    assert sum(len(batch[1]) for batch in batches) == 300
    assert widths == [8]  # of a number, not of a picture


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda image: picture_file(image, "JPEG")[:200], r"record 1 at byte \d+: the JPEG can't be decoded: "),
        (lambda image: picture_file(image, "PNG")[:-30], r"record 1 at byte \d+: the PNG can't be decoded: "),
        (lambda image: picture_file(image[:9], "PNG"), r"the PNG has another size\. Received: 9×18\. Expected: 18×18"),
        (lambda image: picture_file(image, "PNG")[:20], "the PNG can't be decoded: its header is cut off"),
        (lambda image: enlarged(picture_file(image, "PNG"), 16), r"the PNG has another size\. Received: 13000×13000"),
        (
            lambda image: enlarged(jpeg := picture_file(image, "JPEG"), jpeg.index(b"\xff\xc0") + 5),
            r"the JPEG has another size\. Received: 13000×13000\. Expected: 18×18",
        ),
        (lambda image: picture_file(image, "WEBP"), r"image is neither JPEG nor PNG\. Received: WebP\. Expected: "),
        (lambda image: image.tobytes(), r"record 1 .*image is neither JPEG nor PNG\. Received: "),
        (lambda _: b"", r"neither JPEG nor PNG\. Received: nothing\."),
    ],
)
def test_a_picture_that_is_none_is_named(tmp_path, bad, message):
    images, _ = examples(2)
    write(tmp_path, [record(picture_file(images[0], "PNG"), 0), record(bad(images[1]), 1)])
    with pytest.raises(DataError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("count", [4, 70])
def test_a_header_that_lies_is_refused_before_it_is_decoded(tmp_path, count):
    """That would take 507 MB. A group of 64 takes the graph's other branch."""
    images, labels = examples(count)
    files = [picture_file(image, "JPEG") for image in images]
    write(tmp_path / "good", [record(data, int(label)) for data, label in zip(files, labels, strict=True)])
    read(tmp_path / "good")
    files[3] = enlarged(files[3], files[3].index(b"\xff\xc0") + 5)
    write(tmp_path / "bad", [record(data, int(label)) for data, label in zip(files, labels, strict=True)])
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory so far is the present one
    before = highest_memory()
    with pytest.raises(DataError, match=r"record 3 at byte \d+: the JPEG has another size\. Received: 13000×13000"):
        read(tmp_path / "bad")
    assert highest_memory() - before < 200_000


def highest_memory() -> int:
    """Of this process, in kB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


@pytest.mark.parametrize(
    ("kind", "name"), [("WEBP", "WebP"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("JPEG2000", "JPEG 2000")]
)
def test_other_files_are_called_by_their_name(tmp_path, kind, name):
    images, _ = examples(2)
    write(tmp_path, [record(picture_file(image, kind), 0) for image in images])
    with pytest.raises(
        DataError, match=rf"record 0 .*image is a file\. Received: {name}\. Expected: JPEG or PNG files"
    ):
        read(tmp_path)


def test_files_after_pixels_are_called_by_their_name(tmp_path):
    images, _ = examples(2)
    write(tmp_path, [record(images[0].tobytes(), 0), record(picture_file(images[1], "JPEG"), 0)])
    with pytest.raises(
        DataError, match=r"record 1 .*image is a file\. Received: JPEG\. .* or pixels in all, 972 bytes"
    ):
        read(tmp_path)


def test_a_label_out_of_range_is_named(tmp_path):
    images, _ = examples(2)
    write(tmp_path, [record(picture_file(images[0], "PNG"), 0), record(picture_file(images[1], "PNG"), 7)])
    with pytest.raises(DataError, match=r"record 1 at byte \d+: label out of range\. Received: 7\. Expected: 0 to 2\."):
        read(tmp_path)


def test_pixels_that_begin_like_a_file_are_pixels(tmp_path):
    images, _ = examples(3)
    images[0].reshape(-1)[:3] = (0xFF, 0xD8, 0xFF)
    write(tmp_path, [record(image.tobytes(), 0) for image in images])
    np.testing.assert_array_equal(read(tmp_path)[0], images)


def test_a_file_as_long_as_the_pixels_is_a_file(tmp_path):
    images, _ = examples(1)
    data = picture_file(images[0], "PNG")
    content = ImageDatasetInfo((1, len(data), 1), CLASSES)
    write(tmp_path, [record(data, 0)])
    with pytest.raises(DataError, match="the PNG has another size"):
        read(tmp_path, content)


def test_how_files_are_told_from_pixels():
    image = examples(1)[0][0]
    for name in ("JPEG", "PNG"):
        data = picture_file(image, name)
        assert image_format(data) == name
        assert is_complete(data)
        assert not is_complete(data[:-8])
    assert image_format(b"GIF89a") is None
    assert not is_complete(b"")


@pytest.mark.slow
def test_a_job_trains_from_png_as_from_pixels(tmp_path, shards, feed, start):
    hyperparameters = {"epochs": "2", "learning-rate": "0.01", "shuffle-buffer": "100"}
    accuracies = []
    for name in ("png", "raw"):
        root = job_folder(tmp_path / name, "Pipe", hyperparameters)
        for channel, count, seed in (("train", 300, 1), ("validation", 60, 2)):
            images, labels = examples(count, seed)
            data = [picture_file(i, "PNG") if name == "png" else i.tobytes() for i in images]
            write(tmp_path / f"{name}-data", [record(d, int(k)) for d, k in zip(data, labels, strict=True)], channel)
            feed(root / "input/data", channel, channel_bytes(tmp_path / f"{name}-data", channel))
        job = start(root)
        assert job.wait() == 0, job.lines
        accuracies.append([row["validation_loss"] for row in job.history])
    assert accuracies[0] == accuracies[1]
