"""All shards' facts → what a person wants to know, and what is wrong."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataset import manifest
from dataset.inspection.shard import Facts, Thumbnail
from dataset.manifest import Manifest

_NAMED = 20  # problems of one kind that are named; all are counted


@dataclass
class Summary:
    """Of a data set. classes: label → name, or "label 3" where nothing says names."""

    name: str
    described: Manifest | None
    facts: list[Facts]
    classes: dict[int, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, split: str) -> list[Facts]:
        return [facts for facts in self.facts if facts.place.split == split]

    def counts(self, split: str) -> Counter[int]:
        return sum((facts.counts for facts in self.of(split)), Counter())

    def kinds(self) -> Counter[str]:
        return sum((facts.kinds for facts in self.facts), Counter())

    def thumbnails(self, split: str, label: int, most: int) -> list[Thumbnail]:
        found = (one for facts in self.of(split) for one in facts.thumbnails if one.label == label)
        return [one for one, _ in zip(found, range(most), strict=False)]


def summarize(name: str, described: Manifest | None, facts: list[Facts]) -> Summary:
    summary = Summary(name, described, facts)
    summary.splits = (described and manifest.SPLITS) or tuple(sorted({one.place.split for one in facts}))
    labels = sorted({label for one in facts for label in one.counts})
    summary.classes = dict(enumerate(described.classes)) if described else {label: f"label {label}" for label in labels}
    summary.problems += _find_damage(facts)
    if described:
        summary.problems += _compare(described, facts)
    summary.problems += _find_mixtures(summary) + _find_empty(summary) + _find_copies(summary)
    return summary


def _find_damage(facts: list[Facts]) -> list[str]:
    """Every record that can't be used, by shard and number."""
    named = [f"{one.place.path}, record {number}: {problem}" for one in facts for number, problem in one.problems]
    more = sum(one.problem_count for one in facts) - len(named[:_NAMED])
    return [*named[:_NAMED], *([f"{more:,} more records are damaged or wrong"] if more else [])]


def _compare(described: Manifest, facts: list[Facts]) -> list[str]:
    """What differs from dataset.json."""
    found, expected = {one.place.path: one for one in facts}, dict(described.files())
    problems = [f"{path} is missing" for path in expected if path not in found]
    problems += [f"{path} is not in {manifest.FILE}, but a channel reads it" for path in found if path not in expected]
    for path, shard in expected.items():
        if path in found and found[path].sha256 != shard.sha256:
            one = found[path]
            what = f"{one.size:,} bytes, {one.examples:,} records, sha256 {one.sha256[:12]}…"
            wanted = f"{shard.bytes:,}, {shard.examples:,}, {shard.sha256[:12]}…"
            problems.append(f"{path} is not what {manifest.FILE} says. Received: {what} Expected: {wanted}")
    return problems


def _find_mixtures(summary: Summary) -> list[str]:
    """A channel's pictures are all pixels or all files, and of one size."""
    problems = []
    for split in summary.splits:
        kinds = sum((facts.kinds for facts in summary.of(split)), Counter[str]())
        raw = [kind for kind in kinds if kind.startswith("raw")]
        sizes = {kind.partition(" ")[2] for kind in kinds}
        if raw and len(raw) < len(kinds):
            problems.append(f"{split} has pixels and files. Received: {_list(kinds)}. Expected: one of them in all")
        elif len(sizes) > 1:
            problems.append(f"{split} has pictures of several sizes. Received: {_list(kinds)}. Expected: one size")
    return problems


def _list(kinds: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(4)) + (", …" if len(kinds) > 4 else "")


def _find_empty(summary: Summary) -> list[str]:
    if not summary.described:
        return []
    problems = []
    for split in summary.splits:
        counts = summary.counts(split)
        if empty := [name for label, name in summary.classes.items() if not counts[label]]:
            more = f", … ({len(empty):,})" if len(empty) > 5 else ""
            problems.append(f"{split} has no picture of {', '.join(empty[:5])}{more}")
    return problems


@dataclass(frozen=True)
class _Pictures:
    """All whole records: keys of their contents, labels, and where they are."""

    keys: NDArray[np.uint64]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]
    ends: NDArray[np.int64]  # of each shard's records
    facts: list[Facts]

    def where(self, index: int) -> str:
        shard = int(np.searchsorted(self.ends, index, "right"))
        facts = self.facts[shard]
        return f"{facts.place.path}, record {facts.numbers[index - int(self.ends[shard]) + len(facts.numbers)]}"


def _find_copies(summary: Summary) -> list[str]:
    """The same picture in two splits: what validates was trained on. Or with two labels: one is wrong.

    Copies within a split are a note: they weigh more, nothing else.
    """
    lengths = [len(one.keys) for one in summary.facts]
    pictures = _Pictures(
        np.concatenate([one.keys for one in summary.facts]),
        np.concatenate([one.labels for one in summary.facts]),
        np.repeat([summary.splits.index(one.place.split) for one in summary.facts], lengths),
        np.cumsum(lengths),
        summary.facts,
    )
    order = np.argsort(pictures.keys, kind="stable")  # copies lie side by side, in their order
    is_first = np.diff(pictures.keys[order], prepend=~pictures.keys[order[:1]]) != 0
    first, copy = order[np.flatnonzero(is_first)[np.cumsum(is_first) - 1]][~is_first], order[~is_first]
    across = pictures.splits[first] != pictures.splits[copy]
    torn = pictures.labels[first] != pictures.labels[copy]
    problems = _name(pictures, first[across], copy[across], "in both splits")
    problems += _name(pictures, first[torn], copy[torn], "with two labels", summary.classes)
    if within := int((~across).sum()):
        summary.notes.append(f"pictures that are a copy of another one of their split: {within:,}")
    return problems


def _name(
    pictures: _Pictures,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    what: str,
    classes: Mapping[int, str] | None = None,
) -> list[str]:
    def describe(index: int) -> str:
        return pictures.where(index) + (f" ({classes.get(int(pictures.labels[index]))})" if classes else "")

    named = [
        f"the same picture {what}: {describe(one)} = {describe(other)}"
        for one, other in zip(first[:_NAMED].tolist(), second[:_NAMED].tolist(), strict=True)
    ]
    more = len(first) - len(named)
    return [*named, *([f"{more:,} more pictures are there twice, {what}"] if more else [])]
