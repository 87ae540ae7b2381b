"""A tuning job's results as one self-contained HTML page: optimization history, slice plots, parallel coordinates.

Its input is what the API answers, here or on AWS: DescribeHyperParameterTuningJob's response and the summaries
of ListTrainingJobsForHyperParameterTuningJob.
"""

import html
import math
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.tuning.axes import format_tick, log_ticks, ticks
from local_test.tuning.search_space import Categorical, Range, read_ranges
from local_test.tuning.warm_start import FINAL_OBJECTIVE, list_definitions
from local_test.util.atomic_files import write_whole
from local_test.util.numbers import number

NAME = "report.html"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 220, 56, 14, 12, 26  # of a chart, in SVG units
_AXIS = 120  # between two axes of the parallel coordinates
_LABEL = 14  # characters of a value beside an axis


@dataclass(frozen=True)
class _Job:
    """A training job with a finite objective. `score`: 0 for the worst of its definition, 1 for the best."""

    name: str
    value: float
    minutes: float  # from the tuning job's beginning to this job's end
    values: Mapping[str, str]
    score: float


@dataclass(frozen=True)
class _Scale:
    """Values → SVG units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> "_Scale":
        low, high = min(values), max(values)
        room = (high - low) * 0.06 or abs(high) * 0.06 or 1.0  # a dot is not cut off at the edge
        return cls(low - room, high + room, start, end)


def write_page(path: Path, description: Mapping[str, Any], children: Sequence[Mapping[str, Any]]) -> None:
    """Writes the page, whole or not at all. OSError or BadRequest if that fails."""
    text = page(description, children)
    write_whole(path, lambda file: file.write(text.encode()))


def page(description: Mapping[str, Any], children: Sequence[Mapping[str, Any]]) -> str:
    """The HTML text; the tuning job may still be running. BadRequest for ranges that the local platform can't read."""
    definitions = list_definitions(description)
    name, best = description["HyperParameterTuningJobName"], description.get("BestTrainingJob", {})
    objective = best.get(FINAL_OBJECTIVE)
    title = (
        f"Best {objective['MetricName']}: {_format(objective['Value'])}"
        if objective
        else "No training job has a result"
    )
    counts = Counter(child["TrainingJobStatus"] for child in children)
    ended = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    sentences = [
        f"Reached by training job {best['TrainingJobName']}." if objective else "",
        f"Tuning job {name} is {description['HyperParameterTuningJobStatus']};",
        f"training jobs: {ended}.",
        f"Strategy {description['HyperParameterTuningJobConfig']['Strategy']}.",
    ]
    parts = "".join(_definition(item, description, children, len(definitions) > 1) for item in definitions)
    maximized = {item.get("DefinitionName") for item in definitions if _maximize(item)}
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tuning report {_text(name)}</title><style>{_STYLE}</style></head><body><main>
<h1>{_text(title)}</h1>
<p>{_text(" ".join(filter(None, sentences)))}</p>
{parts}
<h2>Training jobs, best first</h2>
{_wide("Training jobs")}{_table(children, maximized)}</div>
</main></body></html>
"""


def _definition(
    definition: Mapping[str, Any], description: Mapping[str, Any], children: Sequence[Mapping[str, Any]], named: bool
) -> str:
    """The charts of one definition's training jobs."""
    objective, ranges = definition["TuningObjective"], read_ranges(definition["HyperParameterRanges"])
    own = [child for child in children if child.get("TrainingJobDefinitionName") == definition.get("DefinitionName")]
    jobs = list(_measured_jobs(own, description["CreationTime"], _maximize(definition)))
    heading = f"<h2>{_text(definition.get('DefinitionName'))}</h2>" if named else ""
    if not jobs:
        return f"{heading}<p>No training job has measured {_text(objective['MetricName'])}.</p>"
    better = "higher" if _maximize(definition) else "lower"
    metric = _text(objective["MetricName"])
    charts = "".join(
        f"<figure><figcaption>{_text(item.name)}{_scaling(item)}</figcaption>{_by_range(jobs, item)}</figure>"
        for item in ranges
    )
    return f"""{heading}
<h2>Optimization history: {metric}</h2>
<p>Each dot is a training job at its end; {better} is better. The line is the best value so far.</p>
{_wide("Optimization history")}{_over_time(jobs, _maximize(definition))}</div>
<h2>Slice plots: {metric} by hyperparameter</h2>
<p>Each chart spans the hyperparameter's range. Where dots improve towards an edge, a wider range may be better.</p>
<section class="charts">{charts}</section>
<h2>Parallel coordinates</h2>
<p>Each line is a training job: its hyperparameters and its {metric}. The stronger the line, the better the job.</p>
{_wide("Parallel coordinates")}{_parallel(jobs, ranges, objective["MetricName"])}</div>
"""


def _maximize(definition: Mapping[str, Any]) -> bool:
    return definition["TuningObjective"]["Type"] == "Maximize"


def _measured_jobs(children: Sequence[Mapping[str, Any]], began: datetime, maximize: bool) -> Iterator[_Job]:
    """The jobs with a finite objective, in the order of their ends."""
    measured = [child for child in children if math.isfinite(child.get(FINAL_OBJECTIVE, {}).get("Value", math.nan))]
    values = [child[FINAL_OBJECTIVE]["Value"] for child in measured]
    worst, best = min(values, default=0), max(values, default=0)
    if not maximize:
        worst, best = best, worst
    for child in sorted(measured, key=_end):
        value = child[FINAL_OBJECTIVE]["Value"]
        score = 1.0 if best == worst else (value - worst) / (best - worst)
        minutes = (_end(child) - began).total_seconds() / 60
        yield _Job(child["TrainingJobName"], value, minutes, child["TunedHyperParameters"], score)


def _end(child: Mapping[str, Any]) -> datetime:
    return child.get("TrainingEndTime") or child["CreationTime"]


def _over_time(jobs: Sequence[_Job], maximize: bool) -> str:
    unit, seconds = _time_unit(60 * jobs[-1].minutes)
    across = _Scale(0.0, max(60 * jobs[-1].minutes / seconds, 1.0) * 1.03, _LEFT, 2 * _WIDTH - _RIGHT)
    up = _Scale.of([job.value for job in jobs], _HEIGHT - _BOTTOM, _TOP)
    best, line = jobs[0].value, []
    for job in jobs:
        line.append((across(60 * job.minutes / seconds), up(best)))
        best = max(best, job.value) if maximize else min(best, job.value)
        line.append((across(60 * job.minutes / seconds), up(best)))
    line.append((2.0 * _WIDTH - _RIGHT, up(best)))
    dots = "".join(_dot(across(60 * job.minutes / seconds), up(job.value), job) for job in jobs)
    marks = "".join(
        f'<text x="{across(value):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{format_tick(value)} {unit}</text>'
        for value in ticks(0.0, across.high, 8)
    )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
    return _svg(
        2 * _WIDTH,
        _HEIGHT,
        least=1.4 * _WIDTH,
        content=f'{_rules(up, 2 * _WIDTH)}{marks}<polyline points="{path}" class="best"/>{dots}',
        text=_describe_chart(jobs, "Objective over time"),
    )


def _time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which the longest of times is easy to read, and its seconds."""
    return next(
        (unit, size) for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)) if seconds >= 2 * size or size == 1
    )


def _by_range(jobs: Sequence[_Job], item: Range) -> str:
    up = _Scale.of([job.value for job in jobs], _HEIGHT - _BOTTOM, _TOP)
    across = _Scale(-0.04, 1.04, _LEFT, _WIDTH - _RIGHT)
    text = _describe_chart(jobs, f"Objective by {item.name}")
    placed = [(place, job) for job in jobs if (place := _place(item, job.values.get(item.name))) is not None]
    dots = "".join(_dot(across(place), up(job.value), job) for place, job in placed)
    marks = "".join(
        f'<text x="{across(place):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{_text(label)}</text>'
        for place, label in _ticks(item)
    )
    return _svg(_WIDTH, _HEIGHT, _rules(up, _WIDTH) + marks + dots, text=text)


def _parallel(jobs: Sequence[_Job], ranges: Sequence[Range], metric: str) -> str:
    """One axis for each range and one for the objective; a line for each job that has a value on all of them."""
    height, top = 300, 34
    width = _AXIS * len(ranges) + 150
    scale = _Scale.of([job.value for job in jobs], height - 12, top)
    down = _Scale(0.0, 1.0, height - 12, top)
    axes = ""
    span = scale.high - scale.low
    values = [((value - scale.low) / span, format_tick(value)) for value in ticks(scale.low, scale.high)]
    named = [*((item.name, _ticks(item)) for item in ranges), (metric, values)]
    for index, (name, labels) in enumerate(named):
        x = 40 + _AXIS * index
        axes += f'<line x1="{x}" x2="{x}" y1="{top}" y2="{height - 12}" class="rule"/>'
        axes += f'<text x="{x}" y="14" text-anchor="middle" class="name">{_text(_shorten(name))}</text>'
        axes += "".join(
            f'<text x="{x + 5}" y="{down(place) + 4:.1f}">{_text(_shorten(label))}</text>' for place, label in labels
        )
    lines, text = "", _describe_chart(jobs, "Parallel coordinates")
    for job in sorted(jobs, key=lambda job: job.score):  # the best is drawn last, above all others
        places = [_place(item, job.values.get(item.name)) for item in ranges]
        heights = [None if place is None else down(place) for place in places] + [scale(job.value)]
        if None not in heights:
            path = " ".join(f"{40 + _AXIS * index},{y:.1f}" for index, y in enumerate(heights))
            lines += f'<polyline points="{path}" class="job" style="--score:{job.score:.3f}">{_tooltip(job)}</polyline>'
    return f'<div style="max-width:{1.3 * width:.0f}px">{_svg(width, height, lines + axes, width, text=text)}</div>'


def _place(item: Range, text: str | None) -> float | None:
    """The value's place in the range, from 0 to 1; None if it lies outside."""
    if text is None or not item.includes(text):
        return None
    if isinstance(item, Categorical):
        return (item.values.index(text) + 0.5) / len(item.values)
    return item.fraction_of(number(text) or 0.0)


def _ticks(item: Range) -> list[tuple[float, str]]:
    if isinstance(item, Categorical):
        return [((index + 0.5) / len(item.values), _shorten(value)) for index, value in enumerate(item.values)]
    if item.scaling == "Logarithmic":
        values = log_ticks(item.low, item.high)
    elif item.scaling == "ReverseLogarithmic":  # 0.9, 0.99, 0.999: round distances from 1
        values = [float(f"{1 - value:.12g}") for value in log_ticks(1 - item.high, 1 - item.low)]
    else:
        values = [value for value in ticks(item.low, item.high) if not item.integer or value.is_integer()]
    return [(item.fraction_of(value), format_tick(value)) for value in values or [item.low, item.high]]


def _scaling(item: Range) -> str:
    """The label's suffix where an axis is not linear."""
    if isinstance(item, Categorical) or item.scaling == "Linear":
        return ""
    return ", logarithmic" if item.scaling == "Logarithmic" else ", logarithmic towards 1"


def _rules(up: _Scale, width: int) -> str:
    """Horizontal lines at round values of the objective."""
    return "".join(
        f'<line x1="{_LEFT}" x2="{width}" y1="{up(value):.1f}" y2="{up(value):.1f}" class="rule"/>'
        f'<text x="{_LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{format_tick(value)}</text>'
        for value in ticks(up.low, up.high)
    )


def _dot(x: float, y: float, job: _Job) -> str:
    best = " top" if job.score == 1 else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="dot{best}">{_tooltip(job)}</circle>'


def _tooltip(job: _Job) -> str:
    """The text that a browser shows when the pointer rests on the job."""
    values = ", ".join(f"{name}={value}" for name, value in job.values.items())
    return f"<title>{_text(f'{job.name}: {_format(job.value)} with {values}')}</title>"


def _wide(name: str) -> str:
    """Begins a region that scrolls sideways, with the keyboard, too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{name}">'


def _svg(width: int, height: int, content: str, least: float = 0, *, text: str) -> str:
    """`least`: the width in CSS pixels below which it scrolls instead of shrinking, so that its text stays readable.
    `text` says what it shows to those who don't see it."""
    style = f'style="min-width:{least:.0f}px"'
    return f'<svg viewBox="0 0 {width} {height}" {style} role="img" aria-label="{_text(text)}">{content}</svg>'


def _describe_chart(jobs: Sequence[_Job], what: str) -> str:
    """The same for who doesn't see it: how many jobs, and the best one's values."""
    best = max(jobs, key=lambda job: job.score)
    values = ", ".join(f"{name} {text}" for name, text in best.values.items())
    return f"{what}. Training jobs: {len(jobs)}. The best is {best.name}: {_format(best.value)} with {values}."


def _table(children: Sequence[Mapping[str, Any]], maximized: Container[str | None]) -> str:
    """`maximized`: the names of the definitions that maximize their objective."""
    names = list(dict.fromkeys(name for child in children for name in child["TunedHyperParameters"]))
    head = "".join(f"<th>{_text(name)}</th>" for name in ["training job", "status", "objective", *names, "minutes"])
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in _row(child, names))}</tr>"
        for child in sorted(children, key=lambda child: _rank(child, maximized))
    )
    return f'<table class="jobs"><tr>{head}</tr>{rows}</table>'


def _row(child: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    objective, reason = child.get(FINAL_OBJECTIVE), child.get("FailureReason")
    values = [child["TunedHyperParameters"].get(name, "") for name in names]
    start, end = child.get("TrainingStartTime"), child.get("TrainingEndTime")
    minutes = f"{(end - start).total_seconds() / 60:.1f}" if start and end else ""
    status = f"{child['TrainingJobStatus']}: {reason}" if reason else child["TrainingJobStatus"]
    value = _format(objective["Value"]) if objective else ""
    return [child["TrainingJobName"], status, value, *map(_format_text, values), minutes]


def _rank(child: Mapping[str, Any], maximized: Container[str | None]) -> float:
    """Lower is better; those without an objective come last."""
    value = child.get(FINAL_OBJECTIVE, {}).get("Value", math.nan)
    if not math.isfinite(value):
        return math.inf
    return -value if child.get("TrainingJobDefinitionName") in maximized else value


def _format_text(text: str) -> str:
    """A number rounded to four digits; any other text as it is."""
    value = number(text)
    return text if value is None or not math.isfinite(value) else _format(value)


def _format(value: float) -> str:
    return f"{value:.4g}"


def _shorten(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _text(value: Any) -> str:
    return html.escape(str(value))


_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--rule:#d8dde3;--dot:#8a94a0;--best:#0b62c4}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebef;--paper:#15181c;--rule:#343a42;--dot:#8a94a0;--best:#6db0ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.7rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin-top:2.2em;overflow-wrap:anywhere}p{overflow-wrap:anywhere}figure{margin:0}figcaption{font-size:.85rem}
.charts{display:grid;gap:24px;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr))}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--ink)}svg .name{font-weight:600}
svg text{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.rule{stroke:var(--rule)}polyline{fill:none}.best{stroke:var(--best);stroke-width:2}
.dot{fill:var(--dot)}.dot.top{fill:var(--best)}
.job{stroke:var(--best);stroke-width:1.5;stroke-opacity:calc(.08 + .85*var(--score)*var(--score))}
.wide{overflow-x:auto}table{border-collapse:collapse}.jobs th,.jobs td{padding:4px 14px 4px 0;font-size:.8rem;
text-align:left;vertical-align:top;font-variant-numeric:tabular-nums;border-bottom:1px solid var(--rule)}
.jobs td{white-space:nowrap}.jobs td:nth-child(2){white-space:normal;min-width:7em;max-width:28em}
"""
