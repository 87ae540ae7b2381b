import json

import pytest

from tests.support.opt_ml import job_folder
from train.errors import DataError
from train.runtime import environment
from train.runtime.dataset_info import _DRAWN, ImageDatasetInfo, read_dataset_info
from train.runtime.hyperparameters import Hyperparameters


def with_dataset(root, content: object | None):
    job_folder(root, "File", {}, ["train", "dataset"])
    folder = root / "input/data/dataset"
    folder.mkdir()
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "dataset.json").write_text(text)
    return environment.read(root)


def test_the_dataset_channel_decides(tmp_path):
    content = {"image_shape": [64, 48, 1], "classes": ["x", "y"], "splits": {"train": {"examples": 7}}}
    here = with_dataset(tmp_path, content)
    assert read_dataset_info(here, Hyperparameters()) == ImageDatasetInfo((64, 48, 1), ("x", "y"), 7)
    assert read_dataset_info(here, Hyperparameters()).bytes == 64 * 48


@pytest.mark.parametrize(
    ("source", "expected", "drawn"),
    [
        ({"kind": "folder", "name": "pets", "note": "some\n are cropped"}, ("folder pets", "some are cropped"), False),
        ({"kind": "synthetic", "name": "synthetic", "note": None}, ("synthetic", _DRAWN), True),
        (None, ("", ""), False),
    ],
)
def test_where_the_pictures_are_from(tmp_path, source, expected, drawn):
    content = {"image_shape": [64, 48, 1], "classes": ["x", "y"], "source": source, "encoding": "jpeg"}
    info = read_dataset_info(with_dataset(tmp_path, content), Hyperparameters())
    assert (info.source, info.note, info.is_drawn, info.encoding) == (*expected, drawn, "jpeg")


def test_without_it_the_hyperparameters_do(tmp_path):
    here = environment.read(job_folder(tmp_path, "Pipe", {}))
    assert read_dataset_info(here, Hyperparameters(classes="a,b", image_shape="20,30,3")) == ImageDatasetInfo(
        (20, 30, 3), ("a", "b")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"Channel dataset has no dataset\.json"),
        ("{", r"dataset\.json can't be used"),
        ({"classes": ["a", "b"]}, r"KeyError\('image_shape'\)"),
        ({"image_shape": [1, 2], "classes": []}, "can't be used"),
        ({"image_shape": [32, 32, 3], "classes": "cat"}, "classes is no list of names"),
        ({"image_shape": [32, -32, 3], "classes": ["a", "b"]}, "no shape of pictures: 32,-32,3"),
        ({"image_shape": [1e300, 32, 3], "classes": ["a", "b"]}, "no shape of pictures"),
        ({"image_shape": [32, 32, 3], "classes": ["a", "b"], "splits": 1}, "AttributeError"),
        ({"image_shape": [32, 32, 3], "classes": ["a", "b"], "source": 1}, "AttributeError"),
        ({"image_shape": [32, 32, 3], "classes": ["a", "b"], "encoding": "gif"}, "no encoding of pictures: 'gif'"),
        ('{"image_shape": [Infinity, 32, 3], "classes": ["a", "b"]}', "OverflowError"),
    ],
)
def test_a_useless_dataset_channel_is_an_error(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_dataset_info(with_dataset(tmp_path, content), Hyperparameters())
