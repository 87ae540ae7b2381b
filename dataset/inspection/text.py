"""A summary as text, for a terminal from 45 columns on."""

from dataset.errors import to_one_line
from dataset.inspection.summary import Summary

_NAMES = 40  # classes that are listed
_COLUMN = 11  # characters of a number: "validation" and a space


def format_summary(summary: Summary, columns: int) -> str:
    """The table, then what is worth knowing, then what is wrong: a line each."""
    width = max(8, min(40, columns - _COLUMN * len(summary.splits) - 1))
    lines = [*describe(summary), _row("class", summary.splits, width)]
    counts = {split: summary.counts(split) for split in summary.splits}
    for label, name in list(summary.classes.items())[:_NAMES]:
        lines.append(_row(name, [f"{counts[split][label]:,}" for split in summary.splits], width))
    if (more := len(summary.classes) - _NAMES) > 0:
        lines.append(f"… and {more:,} more classes: --html FILE lists all")
    totals = [f"{sum(facts.examples for facts in summary.of(split)):,}" for split in summary.splits]
    sizes = [format_megabytes(summary, split) for split in summary.splits]
    lines.append(_row("records", totals, width))
    lines.append(_row("shards", [f"{len(summary.of(split)):,}" for split in summary.splits], width))
    lines.append(_row("MB", sizes, width))
    lines += [f"note: {note}" for note in summary.notes]
    lines += [f"wrong: {problem}" for problem in summary.problems]
    lines.append(f"lines that say what is wrong: {len(summary.problems)}" if summary.problems else "nothing is wrong")
    return "\n".join(map(to_one_line, lines)) + "\n"


def describe(summary: Summary) -> list[str]:
    """What it is, as sentences."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.kinds().most_common(5))
    lines = [f"{summary.name}: {len(summary.classes):,} classes; {kinds or 'no picture'}"]
    if described := summary.described:
        source = described.source["name"] or described.source["kind"]
        lines.append(f"source: {described.source['kind']} {source}")
        if note := described.source["note"]:
            lines.append(f"note: {note}")
    else:
        lines.append("no dataset.json: nothing says sizes and names of classes")
    return lines


def format_megabytes(summary: Summary, split: str) -> str:
    size = sum(facts.size for facts in summary.of(split)) / 1e6
    return f"{size:,.1f}" if size >= 1 else f"{size:.3f}"


def _row(name: str, values: "list[str] | tuple[str, ...]", width: int) -> str:
    short = name if len(name) <= width else f"{name[: width - 1]}…"
    return f"{to_one_line(short):{width}}" + "".join(f"{value or '.':>{_COLUMN}}" for value in values)
