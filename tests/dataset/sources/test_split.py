"""--validation-split: pictures without splits, and a side for each that never changes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset.errors import DatasetError
from dataset.sources.decode import find_place
from dataset.sources.layout import Layout, arrange_unsplit, hold_out

Command = Callable[..., tuple[int, str, str]]
CLASSES = ("a", "b", "c")
SHARES = st.floats(0.05, 0.9)


def unsplit(labels: list[int]) -> Layout:
    return Layout(CLASSES, {"train": np.arange(len(labels))}, {"train": np.array(labels, np.int64)}, ())


def sides(contents: list[bytes], share: float, seed: int) -> dict[bytes, str] | None:
    """Content → its split; None where a class would be in one alone. Classes in turn."""
    labels = [number % len(CLASSES) for number in range(len(contents))]
    places = np.array([find_place(content, seed) for content in contents])
    try:
        layout = hold_out(unsplit(labels), places, share, "here")
    except DatasetError:
        return None
    for split, files in layout.files.items():
        assert layout.labels[split].tolist() == [labels[number] for number in files]
        assert set(layout.labels[split].tolist()) == set(range(len(CLASSES)))
    found = [(contents[number], split) for split, files in layout.files.items() for number in files]
    assert len(found) == len(contents)  # a partition
    return dict(found)


@given(
    st.sets(st.binary(max_size=9), min_size=30, max_size=90), SHARES, SHARES, st.integers(0, 2**63 - 1), st.randoms()
)
def test_a_side_never_changes(contents: set[bytes], share: float, other: float, seed: int, random: Any) -> None:
    """Whatever comes or goes beside it, in whatever order; a larger share takes all that a smaller one takes."""
    everything = sorted(contents)
    some = random.sample(everything, 20)
    small, large = sorted((share, other))
    of_all, of_some, of_more = sides(everything, small, seed), sides(some, small, seed), sides(everything, large, seed)
    if of_all and of_some:
        assert all(of_all[content] == side for content, side in of_some.items())
    if of_all and of_more:
        held = {content for content, side in of_all.items() if side == "validation"}
        assert held <= {content for content, side in of_more.items() if side == "validation"}


@given(st.integers(0, 2**63 - 1), st.sampled_from([0.1, 0.2, 0.5]))
def test_about_that_share_of_each_class(seed: int, share: float) -> None:
    """Six standard deviations: 2 of 10⁹ would be outside."""
    contents = [number.to_bytes(4, "big") for number in range(3 * 400)]
    found = sides(contents, share, seed)
    assert found
    for label in range(3):
        held = sum(found[content] == "validation" for content in contents[label::3])
        assert abs(held - 400 * share) < 6 * (400 * share * (1 - share)) ** 0.5


def test_a_place_is_of_content_and_seed() -> None:
    """Held as a number: another way to draw it would move pictures that someone has trained on to validation."""
    assert find_place(b"a picture", 0) == pytest.approx(0.0066778812, abs=1e-9)
    assert find_place(b"a picture", 1) != find_place(b"a picture", 0)


@pytest.mark.parametrize(
    ("places", "share", "advice"),
    [
        (
            [0.05, 0.9, 0.305, 0.8, 0.2, 0.7],
            0.1,
            "a validation picture. Received: b, c. --validation-split 0.31 leaves",
        ),
        ([0.05, 0.4, 0.03, 0.35, 0.2, 0.7], 0.5, "a train picture. Received: a, b. --validation-split 0.35 leaves"),
        ([0.05, 0.9, 0.3, 0.3, 0.2, 0.7], 0.1, "Expected more pictures of each class; another --seed may do, too"),
    ],
)
def test_a_class_in_one_split_only_is_refused_with_what_would_do(
    places: list[float], share: float, advice: str
) -> None:
    labels = [0, 0, 1, 1, 2, 2]
    with pytest.raises(DatasetError) as found:
        hold_out(unsplit(labels), np.array(places), share, "here")
    assert advice in str(found.value)
    if "leaves none out" in advice:
        hold_out(unsplit(labels), np.array(places), float(advice.split()[-2]), "here")


@pytest.mark.parametrize("top", ["", "pets/", "data/pets/", "pets/train/"])
def test_where_the_classes_are(top: str) -> None:
    paths = [f"{top}cat/1.jpg", f"{top}cat/deep/2.jpg", f"{top}dog/1.jpg", f"{top}cover.jpg", f"{top}.trash/x/1.jpg"]
    layout = arrange_unsplit(paths, "here")
    assert layout.classes == ("cat", "dog")
    assert layout.files["train"].tolist() == [0, 1, 2]
    assert layout.labels["train"].tolist() == [0, 0, 1]
    assert layout.ignored == (paths[3], paths[4])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train/a/1.png", "train/b/1.png", "val/a/1.png"], "has splits already. Received: train, val."),
        (["a/1.png", "a/2.png"], "has fewer than two classes"),
        (["1.png", "2.png"], "has fewer than two classes"),
        ([], "has no pictures. Received: no files"),
    ],
)
def test_what_can_not_be_split(paths: list[str], message: str) -> None:
    with pytest.raises(DatasetError) as found:
        arrange_unsplit(paths, "here")
    assert message in str(found.value)


def test_the_command(command: Command, write_tree: Any, picture: Any, tmp_path: Path) -> None:
    """Added pictures join a side; those that were there keep theirs, under other names as well."""
    files = {f"{label}/{n}.png": picture(n + 1000 * ord(label)) for label in "ab" for n in range(60)}
    source = write_tree(tmp_path / "in", files)

    def prepare(*more: object) -> dict[str, set[bytes]]:
        out = tmp_path / "data"
        code, _, errors = command("prepare", "--source", source, "--out", out, "--validation-split", 0.25, *more)
        assert code == 0, errors
        described = json.loads((out / "dataset.json").read_text())
        assert described["source"]["validation_split"] == 0.25
        return {split: read_pictures(out / split) for split in ("train", "validation")}

    before = prepare()
    assert sum(map(len, before.values())) == 120
    assert before == prepare()
    write_tree(source, {f"{label}/new/{n}.png": picture(n + 7000 * ord(label)) for label in "ab" for n in range(40)})
    (source / "a/0.png").rename(source / "a/zebra.png")
    after = prepare()
    assert sum(map(len, after.values())) == 200
    assert all(before[split] < after[split] for split in before)
    assert before["train"] != prepare("--seed", 1)["train"]


def read_pictures(folder: Path) -> set[bytes]:
    """Of records that differ in nothing but the picture, 8 × 8 × 3 bytes, and the label after it."""
    import tensorflow as tf

    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    records = tf.data.TFRecordDataset([str(path) for path in sorted(folder.iterdir())])
    return {tf.io.parse_single_example(record, features)["image"].numpy() for record in records}


def test_few_pictures_need_no_option(command: Command, write_tree: Any, picture: Any, tmp_path: Path) -> None:
    """Fewer than the usual number of shards."""
    files = {f"{label}/{n}.png": picture(n + 1000 * ord(label)) for label in "ab" for n in range(6)}
    source = write_tree(tmp_path / "in", files)
    words = ("--source", source, "--out", tmp_path / "data", "--validation-split", 0.4)
    code, _, errors = command("prepare", *words)
    assert code == 0, errors
    shutil.rmtree(source)
    assert command("prepare", "--out", tmp_path / "data", "--validation-split", 0.4)[0] == 0  # it is there


def test_sources_that_have_a_split(command: Command, tree: Any, write_tree: Any, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "data", "--validation-split", 0.1)
    code, _, errors = command("prepare", "--source", "synthetic", *out)
    assert (code, errors) == (
        1,
        "dataset: the synthetic pictures have a validation split. Received: --validation-split 0.1\n",
    )
    code, _, errors = command("prepare", "--source", write_tree(tmp_path / "in", tree), *out)
    assert (code, "has splits already" in errors) == (1, True)
