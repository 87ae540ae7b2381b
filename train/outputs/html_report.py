"""Results for people: history.csv, evaluation.json and a page that needs nothing else, report.html."""

import base64
import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from train.errors import TrainingError
from train.outputs.axes import format_tick, round_out, ticks
from train.outputs.evaluation import Evaluation, Mistake
from train.runtime.atomic_files import write_text
from train.runtime.dataset_info import ImageDatasetInfo

History = Sequence[dict[str, float]]  # a row an epoch: the fields of metric_lines.EpochMetrics

_CURVES = [
    ("Accuracy", "train_accuracy", "validation_accuracy"),
    ("Loss", "train_loss", "validation_loss"),
]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM, _TOP = 460, 240, 52, 12, 28, 10  # of a chart, in SVG units


def write_report(
    folder: Path, history: History, evaluation: Evaluation, info: ImageDatasetInfo, facts: dict[str, str]
) -> Path:
    """Write the three files into `folder`, each whole or not at all; the page's path."""
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    page = folder / "report.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "history.csv", table.getvalue())
        write_text(folder / "evaluation.json", json.dumps(evaluation.as_json(info.classes, info.note), indent=1))
        write_text(page, _page(history, evaluation, info, facts))
    except OSError as error:
        raise TrainingError(f"The report can't be written to {folder}: {error.strerror}") from error
    return page


def _page(history: History, evaluation: Evaluation, info: ImageDatasetInfo, facts: dict[str, str]) -> str:
    charts = "".join(
        f"<figure><figcaption>{title} by epoch</figcaption>{_chart(title, history, train, validation)}</figure>"
        for title, train, validation in _CURVES
    )
    what = "drawn shapes, not photographs," if info.is_drawn else "validation pictures"
    note = f'<p class="note">{_text(info.note[:1].upper() + info.note[1:])}.</p>' if info.note else ""
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Training report</title><style>{_STYLE}</style></head><body><main>
<h1>{evaluation.accuracy:.1%} of {evaluation.examples:,} {what} recognised</h1>
{note}
<p>The model saw none of these pictures in training. Loss {evaluation.loss:.4f}. Epochs: {len(history)}.</p>
<section class="charts">{charts}</section>
<p class="key"><span class="train">training</span> <span class="validation">validation</span></p>
<h2>Confusion matrix</h2>
<p>Rows are true classes, columns predicted ones; numbers are pictures. The diagonal is right: its share is
the recall.</p>
<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix">{_confusion(evaluation, info.classes)}</div>
<h2>Most confident mistakes</h2>
<p>Under each picture: true class → predicted class, and the probability of the prediction.</p>
<section class="grid">{"".join(_mistake(mistake, info.classes) for mistake in evaluation.mistakes)}</section>
<h2>The job</h2><table class="facts">{rows}</table>
</main></body></html>
"""


def _chart(title: str, history: History, train: str, validation: str) -> str:
    """Two lines over the epochs, as SVG."""
    shares = title == "Accuracy"
    values = [row[name] for row in history for name in (train, validation)]
    low, high = round_out(min(0.0, *values), max(values))
    across = _scale(1, max(2, len(history)), _LEFT, _WIDTH - _RIGHT)
    up = _scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    rules = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" class="rule"/>'
        f'<text x="{_LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{_label(value, shares)}</text>'
        for value in ticks(low, high)
    )
    epochs = "".join(
        f'<text x="{across(epoch):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{epoch:.0f}</text>'
        for epoch in ticks(1, len(history), 6)
        if epoch.is_integer()
    )
    lines = _line(history, train, "train", across, up) + _line(history, validation, "validation", across, up)
    text = f"{title} by epoch. " + ". ".join(
        f"{kind}: {_label(history[0][name], shares)} at first, {_label(history[-1][name], shares)} at last"
        for kind, name in (("Training", train), ("Validation", validation))
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(text)}.">{rules}{epochs}{lines}</svg>'


def _label(value: float, is_share: bool) -> str:
    return f"{format_tick(100 * value)} %" if is_share else format_tick(value)


def _line(
    history: History, name: str, kind: str, across: Callable[[float], float], up: Callable[[float], float]
) -> str:
    points = [(across(epoch), up(row[name])) for epoch, row in enumerate(history, start=1)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="{kind}"/>' for x, y in points)
    return f'<polyline points="{path}" class="{kind}"/>{dots}'


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _confusion(evaluation: Evaluation, classes: tuple[str, ...]) -> str:
    """The recall is beside the name, where a phone shows both; the columns' names stand upright."""
    head = "".join(
        f'<th scope="col" class="upright" title="{_text(name)}"><span>{_text(name)}</span></th>' for name in classes
    )
    totals = np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    shares = evaluation.confusion / totals
    rows = "".join(
        f'<tr><th scope="row" title="{_text(name)}"><span>{_text(name)}</span></th><td class="sum">{recall}</td>'
        f"{_cells(counts, row_shares, index)}</tr>"
        for index, (name, counts, row_shares, recall) in enumerate(
            zip(classes, evaluation.confusion, shares, map(_percent, evaluation.recall()), strict=True)
        )
    )
    return (
        f'<table class="confusion"><tr><th scope="col">class</th><th scope="col">recall</th>{head}</tr>{rows}</table>'
    )


def _cells(counts: np.ndarray, shares: np.ndarray, diagonal: int) -> str:
    return "".join(
        f'<td class="{"right" if column == diagonal else "wrong"}" style="--share:{share:.3f}">{count or ""}</td>'
        for column, (count, share) in enumerate(zip(counts, shares, strict=True))
    )


def _mistake(mistake: Mistake, classes: tuple[str, ...]) -> str:
    picture = base64.b64encode(tf.io.encode_png(mistake.image).numpy()).decode()
    label, predicted = _text(classes[mistake.label]), _text(classes[mistake.predicted])
    return (
        f'<figure><img alt="{label}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{label} → {predicted} {mistake.confidence:.0%}</figcaption></figure>"
    )


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.0%}"


def _text(value: Any) -> str:
    return html.escape(str(value))


_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--rule:#d8dde3;--train:#8a94a0;--validation:#0b62c4;
--right:11,98,196;--wrong:205,70,30}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebef;--paper:#15181c;--rule:#343a42;--train:#8a94a0;
--validation:#6db0ff;--right:80,150,255;--wrong:255,130,80}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.7rem;line-height:1.2}h2{margin-top:2.2em}
figure{margin:0}figcaption{font-size:.85rem}.charts{display:grid;gap:24px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr))}svg{width:100%;height:auto}
svg text{font-size:11px;fill:var(--ink)}.rule{stroke:var(--rule)}polyline{fill:none;stroke-width:2}
polyline.train{stroke:var(--train)}polyline.validation{stroke:var(--validation)}
circle.train{fill:var(--train)}circle.validation{fill:var(--validation)}
.key span::before{content:"";display:inline-block;width:1.4em;height:3px;margin:0 .4em .25em 0;background:var(--train)}
.key .validation::before{background:var(--validation)}.key span{margin-right:1.5em}
.wide{overflow-x:auto}table{border-collapse:collapse}.confusion td,.confusion th{padding:4px 6px;font-size:.8rem;
text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.confusion td.right{background:rgba(var(--right),
calc(var(--share)*.6))}.confusion td.wrong{background:rgba(var(--wrong),calc(var(--share)*1.6))}
.confusion th{vertical-align:bottom;font-weight:600}.confusion .sum{font-weight:600}
.confusion th[scope=row],.confusion th:first-child{position:sticky;left:0;background:var(--paper);text-align:left}
.confusion th span{display:block;max-width:9em;overflow:hidden;text-overflow:ellipsis}
.confusion .upright span{writing-mode:vertical-rl;transform:rotate(180deg);max-width:none;max-height:9em;
margin-left:auto}
.grid{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(104px,1fr))}
.grid img{width:100%;image-rendering:pixelated;display:block;border-radius:4px}.grid figcaption{font-size:.75rem;
line-height:1.3;margin-top:4px;overflow-wrap:anywhere}
.facts th{text-align:left;padding:2px 24px 2px 0;font-weight:600;vertical-align:top;
white-space:nowrap}
.facts td{overflow-wrap:anywhere}.note{border-left:4px solid var(--validation);padding-left:12px;font-weight:600}
"""
