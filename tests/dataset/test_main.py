"""The command as it is used: what it leaves, what it says, and that a failure is a line and leaves nothing."""

import hashlib
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dataset.prepare
from dataset.prepare import Request, prepare
from dataset.sources.cifar10 import ARCHIVE
from dataset.sources.download import Remote
from dataset.sources.synthetic import Synthetic
from tests.support.small_disk import mount_small_disk

Command = Callable[..., tuple[int, str, str]]
Tree = dict[str, bytes]


def zipped(path: Path, files: Tree) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Tree) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def described(out: Path) -> dict[str, Any]:
    return json.loads((out / "dataset.json").read_text())


def digests(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*.tfrecord"))
    }


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def records(out: Path, split: str) -> list[tuple[bytes, int]]:
    """Every (image, label) of a split, as TensorFlow reads them."""
    import tensorflow as tf

    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    paths = [str(path) for path in sorted((out / split).iterdir())]
    parsed = (tf.io.parse_single_example(record, features) for record in tf.data.TFRecordDataset(paths))
    return [(one["image"].numpy(), int(one["label"])) for one in parsed]


@pytest.fixture
def few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dataset.prepare, "Synthetic", lambda *args, **options: Synthetic(*args, counts=(100, 20), **options)
    )


# what it leaves


def test_a_folder_becomes_shards(command: Command, write_tree: Any, tree: Tree, tmp_path: Path) -> None:
    source, out = write_tree(tmp_path / "pets", tree), tmp_path / "data"
    code, said, _ = command("prepare", "--source", source, "--out", out, "--shards", 4)
    assert (code, said) == (
        0,
        f"{out}: 40 train pictures in 4 shards, 8 validation pictures in 1 shard, 2 classes, 8×8\n",
    )
    document = described(out)
    assert document["format"] == "tfrecord"
    assert document["image_shape"] == [8, 8, 3]
    assert document["classes"] == ["cat", "dog"]
    assert document["source"] == {"kind": "folder", "name": "pets", "note": None, "resized": 0, "ignored": 0}
    for split, examples in (("train", 40), ("validation", 8)):
        shards = document["splits"][split]["shards"]
        assert document["splits"][split]["examples"] == examples == sum(shard["examples"] for shard in shards)
        for number, shard in enumerate(shards):
            content = (out / split / shard["name"]).read_bytes()
            assert shard["name"] == f"{split}-{number:05d}-of-{len(shards):05d}.tfrecord"
            assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["bytes"], shard["sha256"])
    assert names(out) == ["dataset.json", "train", "validation"]
    assert names(tmp_path) == ["data", "pets"]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_tensorflow_reads_every_picture_with_its_label(
    command: Command, tree: Tree, tmp_path: Path, split: str
) -> None:
    out = tmp_path / "data"
    assert command("prepare", "--source", zipped(tmp_path / "a.zip", tree), "--out", out)[0] == 0
    expected = [
        (Image.open(io.BytesIO(content)).tobytes(), int(name.split("/")[1] == "dog"))
        for name, content in tree.items()
        if name.startswith(split)
    ]
    assert sorted(records(out, split)) == sorted(expected)


def test_folder_zip_and_tar_give_the_same_bytes(command: Command, write_tree: Any, tree: Tree, tmp_path: Path) -> None:
    sources = [
        write_tree(tmp_path / "folder", tree),
        zipped(tmp_path / "a.zip", dict(reversed(tree.items()))),
        tarred(tmp_path / "a.tar.gz", {f"top/{name}": content for name, content in tree.items()}),
    ]
    found = []
    for number, source in enumerate(sources):
        out = tmp_path / f"data{number}"
        assert command("prepare", "--source", source, "--out", out, "--seed", 5)[0] == 0
        found.append(digests(out))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 16 + 4


def test_a_folder_with_an_archive_is_that_archive(
    command: Command, write_tree: Any, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a processing job gets it; what is wrong is its ExitMessage, too."""
    (tmp_path / "input").mkdir()
    (tmp_path / "ml/output").mkdir(parents=True)
    zipped(tmp_path / "input/pictures.zip", tree)
    assert (
        command("prepare", "--source", write_tree(tmp_path / "zoo", tree), "--out", tmp_path / "one", "--shards", 1)[0]
        == 0
    )
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    words = ("prepare", "--source", tmp_path / "input", "--out", tmp_path / "two", "--shards", 1)
    assert command(*words)[0] == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert names(tmp_path / "ml/output") == []
    (tmp_path / "input/pictures.zip").write_bytes(b"nothing")
    code, _, err = command(*words)
    assert code == 1
    assert err == f"dataset: {(tmp_path / 'ml/output/message').read_text()}\n"
    assert "not an archive" in err


def test_another_seed_gives_other_bytes(command: Command, tree: Tree, tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", tree)
    for seed in (1, 2):
        assert command("prepare", "--source", source, "--out", tmp_path / f"data{seed}", "--seed", seed)[0] == 0
    assert digests(tmp_path / "data1") != digests(tmp_path / "data2")


def test_many_pictures_on_many_processes(command: Command, picture: Any, tmp_path: Path) -> None:
    files = {
        f"{split}/{label}/{n}.png": picture(n, (4, 4))
        for split, count in (("train", 300), ("val", 50))
        for label in ("a", "b")
        for n in range(count)
    }
    code, said, _ = command("prepare", "--source", zipped(tmp_path / "a.zip", files), "--out", tmp_path / "data")
    assert (code, said.split(": ")[1]) == (
        0,
        "600 train pictures in 16 shards, 100 validation pictures in 4 shards, 2 classes, 4×4\n",
    )
    assert sorted(image for image, _ in records(tmp_path / "data", "train")) == sorted(
        Image.open(io.BytesIO(content)).tobytes() for name, content in files.items() if name.startswith("train")
    )


def test_different_sizes_are_resized_and_said_so(command: Command, tree: Tree, picture: Any, tmp_path: Path) -> None:
    tree["train/cat/000.png"] = picture(0, (20, 30))
    out = tmp_path / "data"
    code, _, said = command("prepare", "--source", zipped(tmp_path / "a.zip", tree), "--out", out)
    assert code == 0
    assert "pictures differ in size: resized to 32×32 (--image-size N for another)" in said
    assert described(out)["image_shape"] == [32, 32, 3]
    assert described(out)["source"]["resized"] == 48
    assert (
        described(out)["source"]["note"] == "48 pictures of another size were scaled to cover 32×32 pixels and cropped"
    )


def test_image_size(command: Command, tree: Tree, tmp_path: Path) -> None:
    out = tmp_path / "data"
    command("prepare", "--source", zipped(tmp_path / "a.zip", tree), "--out", out, "--image-size", 12)
    assert described(out)["image_shape"] == [12, 12, 3]
    assert {len(image) for image, _ in records(out, "train")} == {12 * 12 * 3}


def test_other_files_are_left_out_and_counted(command: Command, tree: Tree, tmp_path: Path) -> None:
    others = {
        "train/cat/.DS_Store": b"x",
        "train/cat/Thumbs.db": b"x",
        "__MACOSX/train/cat/._000.png": b"x",
        "train/cat/IMG_1.HEIC": b"x",
        "LICENSE": b"x",
    }
    out = tmp_path / "data"
    code, _, said = command("prepare", "--source", zipped(tmp_path / "a.zip", {**tree, **others}), "--out", out)
    assert code == 0
    assert "5 files are no pictures of a class: left out (the first: 'LICENSE')" in said
    assert "1 pictures can't be read (.heic, " in said
    assert "the first: 'train/cat/IMG_1.HEIC'. Convert to JPEG" in said
    assert described(out)["source"]["ignored"] == 5


def test_synthetic(command: Command, tmp_path: Path, few_shapes: None) -> None:
    out = tmp_path / "data"
    code, said, _ = command("prepare", "--source", "synthetic", "--out", out)
    assert (code, said) == (
        0,
        f"{out}: 100 train pictures in 16 shards, 20 validation pictures in 4 shards, 10 classes, 32×32\n",
    )
    assert described(out)["source"] == {"kind": "synthetic", "name": "synthetic", "note": None}
    source = Synthetic(0, counts=(100, 20))
    expected = zip(source.images("train", np.arange(100)), source.labels["train"].tolist(), strict=True)
    assert sorted(records(out, "train")) == sorted(expected)


@pytest.mark.slow
def test_the_real_pictures(command: Command, cifar10_images: Path, tmp_path: Path) -> None:
    before = os.times()[:4]
    code, said, _ = command("prepare", "--source", cifar10_images, "--out", tmp_path / "data")
    assert sum(os.times()[:4]) - sum(before) < 120  # a minute of two processors, whatever else they do
    assert (code, said.split(": ")[1]) == (
        0,
        "50,000 train pictures in 16 shards, 10,000 validation pictures in 4 shards, 10 classes, 32×32\n",
    )
    assert {shard["examples"] for shard in described(tmp_path / "data")["splits"]["train"]["shards"]} == {3125}
    assert {shard["examples"] for shard in described(tmp_path / "data")["splits"]["validation"]["shards"]} == {2500}


# auto


def request(tmp_path: Path, archive: Remote, **options: Any) -> Request:
    defaults = {"source": "auto", "out": tmp_path / "data", "cache": tmp_path / "cache", "timeout": 1}
    return Request(**{**defaults, "archive": archive, **options})


@pytest.fixture
def offline() -> Iterator[Remote]:
    """An address where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield Remote(f"http://127.0.0.1:{held.getsockname()[1]}/c.tar.gz", "c.tar.gz", "0")


def test_auto_offline_is_loudly_synthetic(
    tmp_path: Path, offline: Remote, few_shapes: None, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare(request(tmp_path, offline))
    said = capfd.readouterr().err
    assert "!!!!!" in said
    assert "SYNTHETIC stand-in: drawn shapes, NOT CIFAR-10, because http://127.0.0.1" in said
    source = described(tmp_path / "data")["source"]
    assert source["kind"] == "synthetic"
    assert source["note"].startswith("stand-in: drawn shapes, NOT CIFAR-10, because http://")
    assert "Connection refused" in source["note"]


def test_auto_takes_what_is_prepared_and_repeats_the_note(
    tmp_path: Path, offline: Remote, few_shapes: None, capfd: pytest.CaptureFixture[str]
) -> None:
    first = prepare(request(tmp_path, offline))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    capfd.readouterr()
    assert prepare(request(tmp_path, offline)) == first
    said = capfd.readouterr().err
    assert "data is prepared already, from synthetic: nothing to do" in said
    assert "NOTE: stand-in: drawn shapes, NOT CIFAR-10" in said
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == times


def test_auto_prepares_damaged_data_anew(
    tmp_path: Path, offline: Remote, few_shapes: None, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare(request(tmp_path, offline))
    before = digests(tmp_path / "data")
    (tmp_path / "data/train/train-00003-of-00016.tfrecord").write_bytes(b"cut")
    prepare(request(tmp_path, offline))
    assert "is damaged and will be prepared anew" in capfd.readouterr().err
    assert digests(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("option", "value", "there"),
    [("shards", 8, 16), ("seed", 3, 0), ("image_size", 64, 32), ("validation_shards", 2, 4)],
)
def test_auto_does_not_pass_other_data_off_as_what_was_asked_for(
    tmp_path: Path, offline: Remote, few_shapes: None, option: str, value: int, there: int
) -> None:
    prepare(request(tmp_path, offline))
    flag = "--" + option.replace("_", "-")
    with pytest.raises(
        dataset.prepare.DatasetError, match=rf"with another {flag}. Received: {value}(×64)?, there: {there}"
    ):
        prepare(request(tmp_path, offline, **{option: value}))


def test_cifar10_offline_is_an_error(command: Command, tmp_path: Path, offline: Remote) -> None:
    arguments = (
        "--source",
        "cifar10",
        "--mirror",
        offline.url,
        "--cache",
        tmp_path / "cache",
        "--out",
        tmp_path / "data",
    )
    code, _, said = command("prepare", *arguments)
    assert code == 1
    assert "Connection refused" in said.splitlines()[-1]
    assert "`--source synthetic` needs no network" in said.splitlines()[-1]
    assert names(tmp_path) == ["cache"]


def test_auto_uses_the_archive_in_the_cache(tmp_path: Path, offline: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(dataset.prepare, "open_store", lambda path, *_: taken.append(path) or 1 / 0)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/c.tar.gz").write_bytes(b"the archive")
    archive = Remote(offline.url, "c.tar.gz", hashlib.md5(b"the archive").hexdigest())
    with pytest.raises(ZeroDivisionError):
        prepare(request(tmp_path, archive))
    assert taken == [tmp_path / "cache/c.tar.gz"]


def test_the_official_archive_is_the_one_of_its_page() -> None:
    assert ARCHIVE.url == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert ARCHIVE.md5 == "c58f30108f718f92721af3b95e74349a"


# bad input


def make_fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def bad_sources(tree: Tree, root: Path) -> dict[str, tuple[Path | str, str]]:
    """Kind → source and what is said of it."""
    whole = zipped(root / "whole.zip", tree).read_bytes()
    (root / "cut.zip").write_bytes(whole[: len(whole) // 2])
    whole_tar = tarred(root / "whole.tgz", tree).read_bytes()
    (root / "cut.tgz").write_bytes(whole_tar[: len(whole_tar) // 2])
    (root / "notes.txt").write_text("no pictures here")
    broken = {**tree, "train/dog/007.png": tree["train/dog/007.png"][:100]}
    one_class = {name: content for name, content in tree.items() if "cat" in name}
    lonely = {name: content for name, content in tree.items() if not name.startswith("validation/dog")}
    no_train = {name: content for name, content in tree.items() if not name.startswith("train")}
    no_validation = {name: content for name, content in tree.items() if name.startswith("train")}
    return {
        "no such file": (root / "nowhere.zip", "no such file or folder. Received: --source "),
        "not an archive": (root / "notes.txt", "not an archive. Received: "),
        "truncated zip": (root / "cut.zip", "cut.zip is truncated or damaged: "),
        "truncated tar": (root / "cut.tgz", "cut.tgz is truncated or damaged: "),
        "undecodable": (zipped(root / "bad.zip", broken), "bad.zip: train/dog/007.png cannot be decoded: "),
        "one class": (zipped(root / "one.zip", one_class), "has fewer than two classes. Received: cat"),
        "lonely class": (zipped(root / "lonely.zip", lonely), "has classes in its train split only. Received: dog"),
        "no train": (zipped(root / "nt.zip", no_train), "has no train split. Received: validation"),
        "no validation": (zipped(root / "nv.zip", no_validation), "has no validation split. Received: train"),
        "traversal": (
            zipped(root / "esc.zip", {"../../train/cat/1.png": b"x"}),
            "has no pictures. Received: ../../train/cat/1.png",
        ),
        "device": (
            Path("/dev/zero"),
            "neither a file nor a folder. Received: --source /dev/zero. Expected a folder, a",
        ),
        "fifo": (make_fifo(root / "fifo"), "neither a file nor a folder. Received: --source "),
        "empty": (zipped(root / "empty.zip", {}), "has no pictures. Received: no files"),
        "no name": ("", "no source. Received: --source ''. Expected: auto, cifar10, synthetic, or a path"),
        "address": ("s3://pets/x", "an address is no source. Received: --source s3://pets/x. Expected: a path; `aws"),
    }


KINDS = [
    "no such file", "not an archive", "truncated zip", "truncated tar", "undecodable", "one class", "lonely class",
    "no train", "no validation", "traversal", "empty", "device", "fifo", "no name", "address",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_sources_are_told_in_a_line_and_leave_nothing(
    command: Command, tree: Tree, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "in").mkdir()
    source, message = bad_sources(tree, tmp_path / "in")[kind]
    code, said, errors = command("prepare", "--source", source, "--out", tmp_path / "deep/data", "--shards", 2)
    assert (code, said) == (1, "")
    assert message in errors.splitlines()[-1]
    assert errors.splitlines()[-1].startswith("dataset: ")
    assert "Traceback" not in errors
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_that_unpacks_to_more_than_it_may(command: Command, make: Any, tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bomb = {f"train/cat/{n}.png": bytes(1 << 20) for n in range(3)}
    source = make(tmp_path / "in/a", {**tree, **bomb})
    if make is zipped:
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {**tree, **bomb}.items():
                archive.writestr(name, content)
    code, _, errors = command("prepare", "--source", source, "--out", tmp_path / "data", "--max-bytes", 2_000_000)
    assert code == 1
    assert re.fullmatch(
        rf"dataset: {source} unpacks to more than 2,000,000 bytes \([\d,]+ bytes\): --max-bytes N allows more",
        errors.splitlines()[-1],
    )
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("top", ["./", "/", "/home/me/./pets/", ".//"])
def test_names_from_the_folder_or_from_the_root_on(
    command: Command, make: Any, top: str, tree: Tree, tmp_path: Path
) -> None:
    source = make(tmp_path / "a", {f"{top}{name}": content for name, content in tree.items()})
    code, said, errors = command("prepare", "--source", source, "--out", tmp_path / "data")
    assert code == 0, errors
    assert ": 40 train pictures in 16 shards, 8 validation pictures" in said


def test_a_folder_packed_from_inside(command: Command, write_tree: Any, tree: Tree, tmp_path: Path) -> None:
    write_tree(tmp_path / "pets", tree)
    subprocess.run(["tar", "-C", tmp_path / "pets", "-czf", tmp_path / "x.tar.gz", "."], check=True)
    assert command("prepare", "--source", tmp_path / "x.tar.gz", "--out", tmp_path / "data")[0] == 0


def test_a_description_that_is_a_fifo_is_not_waited_for(command: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    code, _, errors = command("prepare", "--out", tmp_path)
    assert (code, errors) == (1, f"dataset: {tmp_path}/dataset.json is not a file\n")


def test_a_bad_source_leaves_what_was_prepared(command: Command, tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sources = bad_sources(tree, tmp_path / "in")
    command("prepare", "--source", tmp_path / "in/whole.zip", "--out", tmp_path / "data")
    before = digests(tmp_path / "data")
    assert command("prepare", "--source", sources["undecodable"][0], "--out", tmp_path / "data")[0] == 1
    assert digests(tmp_path / "data") == before
    assert names(tmp_path) == ["data", "in"]


def test_an_undecodable_picture_among_many_is_named_by_its_process(
    command: Command, picture: Any, tmp_path: Path
) -> None:
    good = picture(0, (4, 4))
    files = {f"{split}/{label}/{n}.png": good for split in ("train", "val") for label in "ab" for n in range(100)}
    files["train/b/77.png"] = good[:50]
    code, _, errors = command(
        "prepare", "--source", zipped(tmp_path / "a.zip", files), "--out", tmp_path / "data", "--image-size", 4
    )
    assert code == 1
    last = errors.splitlines()[-1]
    assert "a.zip: train/b/77.png cannot be decoded" in last
    assert last.endswith(". Mend or remove it, or leave it out with --skip-damaged")
    assert "Traceback" not in errors
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("options", [(), ("--validation-split", "0.3")], ids=["split", "unsplit"])
def test_all_damaged_pictures_are_named_and_can_be_left_out(
    command: Command, write_tree: Any, tree: Tree, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Then the shards are those of a source that never had them."""
    if options:
        tree = {name.partition("/")[2]: content for name, content in tree.items() if name.startswith("train/")}
    cats = [name for name in tree if "cat" in name]
    damage = {cats[0]: b"", cats[-1]: tree[cats[-1]][:60], cats[3]: tree[cats[3]][:20]}
    mended = write_tree(tmp_path / "mended/pets", {n: c for n, c in tree.items() if n not in damage})
    source, out = write_tree(tmp_path / "pets", {**tree, **damage}), tmp_path / "data"
    (source / cats[5]).unlink()
    (source / cats[5]).symlink_to("gone")  # one that can't be read, and is not decoded
    (mended / cats[5]).unlink()
    prepare = ("prepare", "--source", source, "--out", out, *options)

    code, _, errors = command(*prepare)
    assert code == 1
    *named, last = errors.splitlines()[-5:]
    assert [any(name in line for line in named) for name in (*damage, cats[5])] == [True] * 4
    assert last == "dataset: 4 pictures are damaged. Mend or remove them, or leave them out with --skip-damaged"
    assert not out.exists()

    code, _, errors = command(*prepare, "--skip-damaged")
    assert code == 0, errors
    assert "NOTE: 4 damaged pictures are left out" in errors
    assert described(out)["source"]["damaged"] == 4
    assert described(out)["source"]["note"] == "4 damaged pictures were left out"
    assert command("prepare", "--source", mended, "--out", tmp_path / "whole", *options)[0] == 0
    assert digests(out) == digests(tmp_path / "whole")


def test_a_class_of_damaged_pictures_alone_is_not_left_out(
    command: Command, write_tree: Any, tree: Tree, tmp_path: Path
) -> None:
    tree |= {name: b"" for name in tree if name.startswith("validation/dog/")}
    source = write_tree(tmp_path / "pets", tree)
    code, _, errors = command("prepare", "--source", source, "--out", tmp_path / "data", "--skip-damaged")
    assert code == 1
    assert errors.endswith("dataset: all validation pictures of a class are damaged. Received: dog\n")
    assert "validation/dog/000.png is not a picture" in errors
    assert names(tmp_path) == ["pets"]


def test_classes_that_differ_in_case_are_told(command: Command, write_tree: Any, tree: Tree, tmp_path: Path) -> None:
    tree |= {name.replace("cat", "Cat"): content for name, content in tree.items()}
    code, _, errors = command("prepare", "--source", write_tree(tmp_path / "pets", tree), "--out", tmp_path / "data")
    assert code == 0
    assert "NOTE: 'Cat' and 'cat' are classes of their own: one, spelt in several ways?\n" in errors


def test_a_name_with_a_line_break_stays_in_a_line(command: Command, tree: Tree, tmp_path: Path) -> None:
    tree["train/dog/a\nb\x1b[31m.png"] = b"broken"
    code, _, errors = command("prepare", "--source", zipped(tmp_path / "a.zip", tree), "--out", tmp_path / "data")
    assert code == 1
    assert r"train/dog/a\nb\x1b[31m.png is not a picture" in errors.splitlines()[-1]


def test_more_shards_than_pictures(command: Command, tree: Tree, tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", tree)
    for option, split, most in (("--shards", "train", 40), ("--validation-shards", "validation", 8)):
        code, _, errors = command("prepare", "--source", source, "--out", tmp_path / "data", option, 41)
        assert code == 1
        assert f"more shards than {split} pictures. Received: {option} 41. Expected at most {most}" in errors


@pytest.mark.parametrize(
    "arguments",
    [(), ("prepare", "--shards", "0"), ("prepare", "--image-size", "x"), ("prepare", "--seed", "-1"), ("x",)],
)
def test_wrong_usage(command: Command, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(*arguments)


# interrupted, full, at once


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_a_line_and_leaves_nothing(process: Any, until: Any, tmp_path: Path, signum: int) -> None:
    child = process("prepare", "--source", "synthetic", "--out", tmp_path / "deep/data")
    until(child, "write shards")
    child.send_signal(signum)
    said, errors = child.communicate(timeout=200)
    assert (child.returncode, said) == (128 + signum, "")
    assert (
        errors.splitlines()[-1] == f"dataset: interrupted ({signal.Signals(signum).name}); nothing half-written is left"
    )
    assert "Traceback" not in errors
    assert names(tmp_path) == []


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def slow_source(picture: Any, write_tree: Any, tmp_path: Path) -> Path:
    """Three thousand pictures that take a while: links to one, to be enlarged."""
    source = write_tree(tmp_path / "in", {"one.png": picture(0, (64, 64))})
    for split in ("train", "val"):
        for label in "ab":
            (source / split / label).mkdir(parents=True)
            for n in range(750):
                os.link(source / "one.png", source / split / label / f"{n}.png")
    return source


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_it(
    process: Any, until: Any, command: Command, tmp_path: Path, slow_source: Path, signum: int
) -> None:
    arguments = ("prepare", "--source", slow_source, "--out", tmp_path / "data", "--image-size", 512)
    child = process(*arguments, start_new_session=True)
    until(child, "write shards")
    workers = children(child.pid)
    assert len(workers) >= 1
    handles = [os.pidfd_open(worker) for worker in workers]  # readable once the process has ended
    # as Ctrl-C in a terminal does: to the whole group
    os.killpg(child.pid, signum) if signum == signal.SIGINT else child.send_signal(signum)
    _, errors = child.communicate(timeout=200)
    assert "Traceback" not in errors
    for handle in handles:
        assert select.select([handle], [], [], 100)[0], "a decoding process is still there"
        os.close(handle)
    assert not (tmp_path / "data").exists()
    if signum == signal.SIGKILL:
        assert names(tmp_path) == [".data.preparing", "in"]
        assert command(*arguments[:-1], 16)[0] == 0  # clears what was left
        assert names(tmp_path) == ["data", "in"]
    else:
        assert names(tmp_path) == ["in"]


def test_the_second_at_once_is_told(process: Any, until: Any, command: Command, tree: Tree, tmp_path: Path) -> None:
    first = process("prepare", "--source", "synthetic", "--out", tmp_path / "data")
    until(first, "write shards")
    first.send_signal(signal.SIGSTOP)  # so that it can't be done before the second has come
    try:
        source = zipped(tmp_path / "a.zip", tree)
        code, _, errors = command("prepare", "--source", source, "--out", tmp_path / "data")
    finally:
        first.send_signal(signal.SIGCONT)
    assert code == 1
    assert "data: let it end, or choose another --out" in errors.splitlines()[-1]
    said, errors = first.communicate(timeout=200)
    assert (first.returncode, "20,000 train pictures" in said) == (0, True), errors
    assert described(tmp_path / "data")["source"]["kind"] == "synthetic"
    assert names(tmp_path) == ["a.zip", "data"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    with mount_small_disk(tmp_path / "disk", "4m") as disk:
        yield disk


def test_a_full_disk_is_told_in_a_line_and_leaves_nothing(command: Command, small_disk: Path) -> None:
    code, said, errors = command("prepare", "--source", "synthetic", "--out", small_disk / "data")
    assert (code, said) == (1, "")
    line = errors.splitlines()[-1]
    assert line == (
        f"dataset: {small_disk}/data cannot be written: No space left on device. "
        "Make room there, or choose another --out; nothing was changed"
    )
    assert names(small_disk) == []


def test_a_full_disk_keeps_what_was_there(command: Command, tree: Tree, small_disk: Path, tmp_path: Path) -> None:
    command("prepare", "--source", zipped(tmp_path / "a.zip", tree), "--out", small_disk / "data")
    before = digests(small_disk / "data")
    assert len(before) == 20
    assert command("prepare", "--source", "synthetic", "--out", small_disk / "data")[0] == 1
    assert digests(small_disk / "data") == before
    assert names(small_disk) == ["data"]


def test_a_disk_too_small_to_unpack_a_tar_is_not_called_a_damaged_tar(
    command: Command, small_disk: Path, tmp_path: Path
) -> None:
    source = tarred(tmp_path / "a.tgz", {"train/cat/1.png": bytes(8 << 20)})
    code, _, errors = command("prepare", "--source", source, "--out", small_disk / "data")
    assert code == 1
    assert "No space left on device" in errors.splitlines()[-1]
    assert names(small_disk) == []


def test_help_names_every_option(process: Any) -> None:
    said, _ = process("prepare", "--help").communicate(timeout=200)
    for option in (
        "--source",
        "--out",
        "--shards",
        "--validation-shards",
        "--image-size",
        "--seed",
        "--max-bytes",
        "--cache",
        "--mirror",
    ):
        assert option in said
