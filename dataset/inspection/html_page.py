"""A summary as one page that needs nothing else: counts, what is wrong, and pictures of every class."""

import base64
import html
import os
from pathlib import Path

from dataset.errors import DatasetError, describe_error
from dataset.inspection.shard import Thumbnail
from dataset.inspection.summary import Summary
from dataset.inspection.text import describe, format_megabytes

_PARTIAL = ".partial-"


def write_page(path: Path, summary: Summary, shown: int) -> None:
    """Whole or not at all; `shown`: pictures of each class and split. DatasetError if it can't be written."""
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    try:
        if path.exists() and not path.is_file():  # a device would be replaced by a file
            raise DatasetError(f"--html is not a file. Received: {path}")
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_page(summary, shown))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DatasetError(f"{path} cannot be written: {describe_error(error)}") from None


def _page(summary: Summary, shown: int) -> str:
    facts = "".join(f"<p>{_text(line)}</p>" for line in [*describe(summary), *summary.notes])
    wrong = "".join(f"<li>{_text(problem)}</li>" for problem in summary.problems)
    state = f"<h2>What is wrong</h2><ul>{wrong}</ul>" if wrong else "<p><strong>Nothing is wrong.</strong></p>"
    sheets = "".join(_sheet(summary, label, name, shown) for label, name in summary.classes.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Data set {_text(summary.name)}</title><style>{_STYLE}</style></head><body><main>
<h1>{_text(summary.name)}</h1>
{facts}{state}
<h2>Counts</h2>{_table(summary)}
<h2>Pictures</h2>{sheets}
</main></body></html>
"""


def _table(summary: Summary) -> str:
    counts = {split: summary.counts(split) for split in summary.splits}
    head = "".join(f'<th scope="col">{_text(split or ".")}</th>' for split in summary.splits)
    rows = [(name, [f"{counts[split][n]:,}" for split in summary.splits]) for n, name in summary.classes.items()]
    rows += [
        ("all records", [f"{sum(one.examples for one in summary.of(split)):,}" for split in summary.splits]),
        ("shards", [f"{len(summary.of(split)):,}" for split in summary.splits]),
        ("MB", [format_megabytes(summary, split) for split in summary.splits]),
    ]
    body = "".join(
        f'<tr><th scope="row">{_text(name)}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>'
        for name, values in rows
    )
    return f'<table><thead><tr><th scope="col">class</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _sheet(summary: Summary, label: int, name: str, shown: int) -> str:
    parts = []
    for split in summary.splits:
        if pictures := summary.thumbnails(split, label, shown):
            images = "".join(_image(one, name) for one in pictures)
            parts.append(f"<h4>{_text(split or '.')}</h4><div>{images}</div>")
    return f"<section><h3>{_text(name)}</h3>{''.join(parts) or '<p>No picture.</p>'}</section>"


def _image(one: Thumbnail, name: str) -> str:
    data = base64.b64encode(one.data).decode()
    text = _text(f"{name}: {one.where}")
    return f'<img alt="{text}" title="{text}" src="data:image/{one.kind};base64,{data}">'


def _text(text: str) -> str:
    return html.escape("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--rule:#d8dde3}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebef;--paper:#15181c;--rule:#343a42}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.7rem;line-height:1.2}
h1,h3,p,li,th{overflow-wrap:anywhere}h2{margin-top:2em}h3{margin:1.5em 0 0}h4{margin:.4em 0 .2em;font-weight:normal}
table{border-collapse:collapse;max-width:100%}td,th{padding:2px 12px 2px 0;border-bottom:1px solid var(--rule);
text-align:right;font-variant-numeric:tabular-nums}th:first-child{text-align:left}
section div{display:flex;flex-wrap:wrap;gap:6px}
img{min-width:48px;max-width:96px;max-height:96px;object-fit:contain;image-rendering:pixelated}
"""
