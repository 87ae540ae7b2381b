"""`prepare`: a source → shards and dataset.json in a folder, whole or not at all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataset import manifest, shards
from dataset.console import progress_bar, say
from dataset.errors import DatasetError, DownloadError, to_one_line
from dataset.manifest import Manifest, Shard
from dataset.shards import Indices
from dataset.sources import Source
from dataset.sources.archives import MAX_BYTES, open_store
from dataset.sources.cifar10 import Cifar10, is_cifar10
from dataset.sources.download import TIMEOUT, Remote, fetch
from dataset.sources.pictures import open_pictures
from dataset.sources.synthetic import Synthetic
from dataset.staging import Staging, staging

SHARDS = 16
_NAMED = 20  # damaged pictures

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Request:
    """The options of `prepare`. None: not given, so the default, or what is prepared already."""

    source: str
    out: Path
    cache: Path
    archive: Remote
    shards: int | None = None
    validation_shards: int | None = None
    image_size: int | None = None
    seed: int | None = None
    validation_split: float | None = None
    encoding: str | None = None
    max_bytes: int | None = None
    skip_damaged: bool = False
    timeout: float = TIMEOUT  # seconds, of the network


def prepare(request: Request) -> Manifest:
    """Prepares `out` and returns what is in it. Raises DatasetError, and then leaves `out` as it was."""
    if request.source == "auto" and (existing := _read_existing(request)):
        return existing
    with staging(request.out) as stage:
        with _open(request, stage.scratch) as source:
            described = _write(source, request, stage)
        stage.commit()
    return described


def _read_existing(request: Request) -> Manifest | None:
    """What is in `out` already, if it is whole. Raises DatasetError if other options made it."""
    if not (request.out / manifest.FILE).exists():
        return None
    existing = manifest.read(request.out)
    if problem := manifest.find_damage(existing, request.out):
        say(f"{request.out} is damaged and will be prepared anew: {problem}")
        return None
    _check_same(existing, request)
    say(f"{request.out} is prepared already, from {existing.source['name'] or existing.source['kind']}: nothing to do")
    if note := existing.source["note"]:
        say(f"NOTE: {note}")
    return existing


def _check_same(existing: Manifest, request: Request) -> None:
    size = request.image_size and f"{request.image_size}×{request.image_size}"
    height, width, _ = existing.image_shape
    options = {
        "--shards": (request.shards, len(existing.splits["train"])),
        "--validation-shards": (request.validation_shards, len(existing.splits["validation"])),
        "--seed": (request.seed, existing.seed),
        "--validation-split": (request.validation_split, existing.source.get("validation_split")),
        "--encoding": (request.encoding, existing.encoding),
        "--image-size": (size, f"{height}×{width}"),
    }
    for option, (wanted, there) in options.items():
        if wanted is not None and wanted != there:
            raise DatasetError(
                f"{request.out} is prepared already, with another {option}. Received: {wanted}, there: {there}. "
                "Name its --source to prepare it anew, or choose another --out"
            )


@contextmanager
def _open(request: Request, scratch: Path) -> Iterator[Source]:
    path, note = _locate(request)
    if path is None:
        _refuse_split(request, "the synthetic pictures have")
        yield Synthetic(request.seed or 0, request.image_size, note=note, encoding=_encoding(request))
    else:
        with _open_path(path, request, scratch) as source:
            yield source


def _locate(request: Request) -> tuple[Path | None, str | None]:
    """The file or folder to read; or None, which stands for drawn shapes, and why."""
    if request.source == "synthetic":
        return None, None
    if request.source not in ("auto", "cifar10"):
        _check_path(request.source)
        return Path(os.path.expanduser(request.source)), None  # noqa: PTH111 -- Path's raises where there is no such user
    try:
        return fetch(request.archive, request.cache, request.timeout), None
    except DownloadError as error:
        if request.source == "auto":
            return None, _announce_stand_in(error)
        hint = "`--source synthetic` needs no network, `--source PATH` takes what you have"
        raise DatasetError(f"{error}. {hint}") from error


def _check_path(source: str) -> None:
    """Path("") would be the working folder, Path("s3://bucket") s3:/bucket."""
    if not source:
        raise DatasetError("no source. Received: --source ''. Expected: auto, cifar10, synthetic, or a path")
    if "://" in source:
        fetch_first = "`aws s3 cp --recursive` fetches a folder" if source.startswith("s3://") else "download it"
        raise DatasetError(f"an address is no source. Received: --source {source}. Expected: a path; {fetch_first}")


@contextmanager
def _open_path(path: Path, request: Request, scratch: Path) -> Iterator[Source]:
    store = open_store(_find_archive(path), scratch, request.max_bytes or MAX_BYTES)
    members = store.members()
    if is_cifar10(members):
        _refuse_split(request, "CIFAR-10 has")
        yield Cifar10(store, members, request.image_size, _encoding(request))
    else:
        options = (request.image_size, _encoding(request), request.validation_split, request.seed or 0)
        with open_pictures(store, members, *options) as source:
            yield source


def _encoding(request: Request) -> str:
    return request.encoding or manifest.ENCODINGS[0]


def _refuse_split(request: Request, what: str) -> None:
    if request.validation_split:
        raise DatasetError(f"{what} a validation split. Received: --validation-split {request.validation_split:g}")


def _find_archive(path: Path) -> Path:
    """The one file in a folder, which is how a processing job gets an archive; else the path itself."""
    if not path.is_dir():
        return path
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return entries[0] if len(entries) == 1 and entries[0].is_file() else path


def _announce_stand_in(error: DownloadError) -> str:
    """Warns, here and in dataset.json: nobody may take an accuracy on drawn shapes for one on CIFAR-10."""
    note = f"stand-in: drawn shapes, NOT CIFAR-10, because {to_one_line(error)}"
    frame = "!" * 100
    say(f"{frame}\nSYNTHETIC {note}\n`--source PATH` takes CIFAR-10, or pictures of your own, from a file\n{frame}")
    return note


def _write(source: Source, request: Request, stage: Staging) -> Manifest:
    """With --skip-damaged the shards are those of a source that never had the damaged pictures: which they are is known
    when all are decoded, so that then everything is written again."""
    described = _write_all(source, request, stage)
    if damaged := source.drop_damaged():
        _tell_damaged(damaged, request.skip_damaged)
        _check_classes(source)
        stage.begin_again()
        described = _write_all(source, request, stage)
    return described


def _tell_damaged(lines: list[str], skip: bool) -> None:
    """Names them all, up to a limit; DatasetError unless they are to be left out."""
    advice = "Mend or remove {}, or leave {} out with --skip-damaged"
    if not skip and len(lines) == 1:
        raise DatasetError(f"{lines[0]}. {advice.format('it', 'it')}")
    for line in lines[:_NAMED]:
        say(to_one_line(line))
    more = f", {len(lines) - _NAMED:,} of them not named here" if len(lines) > _NAMED else ""
    if not skip:
        raise DatasetError(f"{len(lines):,} pictures are damaged{more}. {advice.format('them', 'them')}")
    say(f"NOTE: {len(lines):,} damaged pictures are left out{more}")


def _check_classes(source: Source) -> None:
    for split in manifest.SPLITS:
        if lost := sorted(set(range(len(source.classes))) - set(source.labels[split].tolist())):
            raise DatasetError(f"all {split} pictures of a class are damaged. Received: {source.classes[lost[0]]}")


def _write_all(source: Source, request: Request, stage: Staging) -> Manifest:
    seed = request.seed or 0
    counts = _shard_counts(source, request)
    orders = {
        split: shards.deal(source.labels[split], counts[split], (seed, number))
        for number, split in enumerate(manifest.SPLITS)  # a seed for each split, or they would be shuffled alike
    }
    with progress_bar(sum(map(len, source.labels.values())), "write shards", "picture") as done:
        splits = {
            split: _write_split(source, split, orders[split], stage.fresh / split, done.update)
            for split in manifest.SPLITS
        }
    described = Manifest(source.image_shape, source.classes, seed, source.description(), splits, _encoding(request))
    _say_if_raw_is_smaller(described)
    manifest.write(described, stage.fresh)
    return described


def _say_if_raw_is_smaller(described: Manifest) -> None:
    height, width, channels = described.image_shape
    size = sum(shard.bytes for _, shard in described.files())
    raw = sum(map(described.examples, manifest.SPLITS)) * height * width * channels
    if described.encoding != manifest.ENCODINGS[0] and size > raw:
        say(f"--encoding raw would be smaller: {raw / 1e6:,.1f} MB, not {size / 1e6:,.1f} MB, and faster to read")


def _shard_counts(source: Source, request: Request) -> dict[str, int]:
    train = request.shards or min(SHARDS, len(source.labels["train"]))
    # a validation pass is short: few shards. Where there are hardly any pictures, even fewer
    default = min(max(1, train // 4), len(source.labels["validation"]))
    counts = {"train": train, "validation": request.validation_shards or default}
    for split, option in (("train", "--shards"), ("validation", "--validation-shards")):
        if counts[split] > (examples := len(source.labels[split])):
            raise DatasetError(
                f"more shards than {split} pictures. Received: {option} {counts[split]}. Expected at most {examples}"
            )
    return counts


def _write_split(
    source: Source, split: str, orders: list[Indices], folder: Path, progress: Progress
) -> tuple[Shard, ...]:
    folder.mkdir()
    return tuple(
        shards.write(
            folder / manifest.shard_name(split, number, len(orders)), _examples(source, split, order, progress)
        )
        for number, order in enumerate(orders)
    )


def _examples(source: Source, split: str, order: Indices, progress: Progress) -> Iterator[tuple[bytes, int]]:
    labels = source.labels[split][order].tolist()
    for image, label in zip(source.images(split, order), labels, strict=True):
        yield image, label
        progress(1)
