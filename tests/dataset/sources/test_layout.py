"""Names → splits, classes, labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset.errors import DatasetError
from dataset.sources.layout import Layout, arrange

TWO = ["train/cat/1.jpg", "train/dog/1.jpg", "validation/cat/1.jpg", "validation/dog/1.jpg"]


def chosen(layout: Layout, paths: list[str]) -> dict[str, list[tuple[str, str]]]:
    """Split → (path, class name)."""
    return {
        split: [(paths[i], layout.classes[n]) for i, n in zip(files, layout.labels[split], strict=True)]
        for split, files in layout.files.items()
    }


@pytest.mark.parametrize(
    ("train", "folder"),
    [
        ("train", "validation"),
        ("train", "val"),
        ("train", "test"),
        ("Train", "Test"),
        ("train", "valid"),
        ("training", "testing"),
    ],
)
@pytest.mark.parametrize("top", ["", "pets/"])
def test_splits_by_any_of_their_names_and_below_a_folder(train: str, folder: str, top: str) -> None:
    paths = [top + path.replace("train", train).replace("validation", folder) for path in TWO]
    layout = arrange(paths, "a.zip")
    assert layout.classes == ("cat", "dog")
    assert chosen(layout, paths) == {
        "train": [(paths[0], "cat"), (paths[1], "dog")],
        "validation": [(paths[2], "cat"), (paths[3], "dog")],
    }
    assert layout.ignored == ()


@pytest.mark.parametrize("validation", ["validation", "valid", "val"])
def test_validation_comes_before_test_which_is_left_out(validation: str) -> None:
    paths = [*(path.replace("validation", validation) for path in TWO), "test/cat/9.jpg"]
    layout = arrange(paths, "a.zip")
    assert [path for path, _ in chosen(layout, paths)["validation"]] == paths[2:4]
    assert layout.ignored == ("test/cat/9.jpg",)


def test_pictures_may_lie_deeper() -> None:
    paths = [path.replace("1.jpg", "images/1.jpg") for path in TWO]
    assert arrange(paths, "a.zip").classes == ("cat", "dog")


def test_an_accent_is_the_same_however_it_is_written() -> None:
    """A Mac writes é as e and an accent, others as one character."""
    paths = [name.replace("cat", "caf\u00e9") for name in TWO[:2]] + [
        name.replace("cat", "cafe\u0301") for name in TWO[2:]
    ]
    assert arrange(paths, "a.zip").classes == ("caf\u00e9", "dog")


@pytest.mark.parametrize(
    "name",
    [
        "train/cat/.DS_Store",
        "train/cat/Thumbs.db",
        "__MACOSX/train/cat/._1.jpg",
        "train/cat/._1.jpg",
        ".git/train/cat/1.jpg",
        "train/.hidden/1.jpg",
        "train/1.jpg",
        "README.jpg",
        "train/cat/labels.txt",
        "train/../../etc/1.jpg",
        "/train/cat/1.jpg",
        "./.././train/cat/1.jpg",
    ],
)
def test_what_is_no_picture_of_a_class_is_left_out_and_counted(name: str) -> None:
    layout = arrange([*TWO, name], "a.zip")
    assert layout.ignored == (name,)
    assert layout.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], r"a.zip has no pictures. Received: no files. Expected train/<class>/"),
        (["x/b.bin", "a.npy"], r"a.zip has no pictures. Received: a.npy, x/b.bin. Expected train/"),
        (["1.jpg", "2.jpg"], r"no train split. Received: pictures without a folder. Expected train/<class>/"),
        (["cat/1.jpg", "dog/1.jpg"], r"has no train split. Received: cat, dog. Expected train/"),
        (TWO[2:], r"has no train split. Received: validation"),
        (TWO[:2], r"has no validation split. Received: train. Expected .*or valid/, val/, or test/"),
        (TWO[::2], r"has fewer than two classes. Received: cat"),
        (TWO[:3], r"has classes in its train split only. Received: dog"),
        ([TWO[0], *TWO[2:]], r"has classes in its validation split only. Received: dog"),
        (["a/" + p for p in TWO] + ["b/" + p for p in TWO], r"holds several data sets. Received: a, b"),
        (["x/a/" + p for p in TWO] + ["x/b/" + p for p in TWO], r"holds several data sets. Received: x/a, x/b"),
    ],
)
def test_bad_layouts(paths: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        arrange(paths, "a.zip")


parts = st.sampled_from(["train", "test", "val", "cat", "dog", "..", "", ".", "x.jpg", "y.txt", "__MACOSX", "ä"])
some_paths = st.lists(st.lists(parts, min_size=1, max_size=5).map("/".join), unique=True)


@given(paths=some_paths)
def test_any_names_are_arranged_or_refused(paths: list[str]) -> None:
    paths = [*TWO, *paths]
    try:
        layout = arrange(paths, "a.zip")
    except DatasetError:
        return
    used = [paths[i] for files in layout.files.values() for i in files]
    assert sorted([*used, *layout.ignored]) == sorted(paths)
    assert not any(part in ("..", "", ".", "__MACOSX") for path in used for part in path.split("/"))
