"""The report's plots, as SVG to be set into a page.

Colours are written as placeholders and replaced by the page's CSS variables, so that one drawing
serves the light and the dark page.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from loadtest.comparison import Row
from loadtest.format import exact, rate, size
from loadtest.ledger import LoadDocument
from loadtest.measurement import Measurement
from loadtest.statistics import median

mpl.use("svg")

_INK, _MUTED, _GRID = "#010203", "#010204", "#010205"
_PLACEHOLDERS = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--line)"}
SERIES_COLOURS = 8
MARKERS = "osD^vP*X"

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "slimserve",
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
}


def _colour(index: int) -> str:
    return f"#0103{index % SERIES_COLOURS:02x}"


def load_figure(document: LoadDocument, rows: tuple[Row, ...]) -> str:
    """p99 (and p50, thin) against offered load, past the knee, with the SLO."""
    slo = document.settings.limits.slo_seconds
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11.0, 5.2), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.axhline(slo, color=_INK, linewidth=1.2, linestyle=(0, (5, 4)))
        for index, row in enumerate(rows):
            _draw_load(axes, index, points(document, row.name))
            if row.r_slo is not None:
                offered = row.r_slo / document.settings.rows_per_request
                axes.plot([offered], [slo], marker="|", markersize=16, markeredgewidth=2.5,
                          color=_colour(index), zorder=5)  # fmt: skip
        axes.annotate(f"SLO {exact(slo)}", (0.005, slo), xycoords=("axes fraction", "data"),
                      xytext=(2, 4), textcoords="offset points", fontsize=10)  # fmt: skip
        axes.set_xlabel("offered load, requests per second")
        axes.set_ylabel("response time from the intended send")
        _round_ticks(axes.xaxis)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: rate(x)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: exact(y)))
        return _svg(figure, "load", "p50 and p99 response time against offered load, by variant")


def _round_ticks(axis: Any) -> None:
    """Labels at 1, 2 and 5 of each decade: the plots seldom span more than two."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())


def _draw_load(axes: Any, index: int, drawn: list[LoadPoint]) -> None:
    colour, marker = _colour(index), MARKERS[index % len(MARKERS)]
    whole = [point for point in drawn if not point.bound]
    rates = [point.rate for point in whole]
    axes.plot(rates, [p.p99 for p in whole], color=colour, linewidth=2.0, marker=marker,
              markersize=5.0, zorder=3)  # fmt: skip
    axes.plot(rates, [p.p50 for p in whole], color=colour, linewidth=1.3, alpha=0.8,
              linestyle=(0, (1, 2)), zorder=2)  # fmt: skip
    cut = [point for point in drawn if point.bound]
    axes.plot([p.rate for p in cut], [p.p99 for p in cut], color=colour, linestyle="none",
              marker=marker, markersize=5.0, markerfacecolor="none", zorder=2)  # fmt: skip


class LoadPoint:
    """Latency at one offered load; `bound` where the run was cut short, so it is a lower bound."""

    def __init__(self, group: list[Measurement]) -> None:
        self.rate = median([run.spec.rate_per_second for run in group]) or 0.0
        self.p50 = median([run.response.p50_seconds for run in group])
        self.p99 = median([run.response.p99_seconds for run in group])
        self.bound = any(run.stopped_early for run in group)


def points(document: LoadDocument, variant: str) -> list[LoadPoint]:
    """A variant's runs by rising load; loads within 8 % of each other are drawn as one."""
    runs: list[Measurement] = []
    for cell in document.of(variant):
        runs += [cell.low.measurement, *cell.search.probes, *cell.curve]
        runs += [cell.busy.measurement] if cell.busy else []
    grouped: dict[int, list[Measurement]] = {}
    for run in runs:
        if run.response.count:
            step = round(math.log(run.spec.rate_per_second) / math.log(1.08))
            grouped.setdefault(step, []).append(run)
    return [LoadPoint(_whole(grouped[step])) for step in sorted(grouped)]


def _whole(group: list[Measurement]) -> list[Measurement]:
    """The runs of a load that were not cut short, or all where every one was."""
    return [run for run in group if not run.stopped_early] or group


def quality_figure(rows: tuple[Row, ...]) -> str:
    """Average precision against latency; the area of a dot is the size of the files."""
    shown = [row for row in rows if row.ap is not None and row.p50_seconds is not None]
    largest = max((row.bytes for row in shown), default=1)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11.0, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        for index, row in enumerate(rows):
            if row not in shown or row.ap is None or row.p50_seconds is None:
                continue
            colour = _colour(index)
            if row.gate == "reference":
                axes.axhline(row.ap, color=_INK, linewidth=1.0, linestyle=(0, (5, 4)), zorder=1)
            if row.ap_low is not None and row.ap_high is not None:
                axes.plot([row.p50_seconds] * 2, [row.ap_low, row.ap_high], color=colour,
                          linewidth=1.4, zorder=2)  # fmt: skip
            area = 40.0 + 900.0 * math.sqrt(row.bytes / largest)
            axes.scatter([row.p50_seconds], [row.ap], s=area, zorder=3, linewidths=2.0,
                         edgecolors=colour,
                         facecolors="none" if row.gate == "failed" else colour,
                         alpha=0.85)  # fmt: skip
            _label(axes, row, rows, math.sqrt(area))
        axes.set_xlabel("end-to-end p50 at the common rate")
        axes.set_ylabel("average precision")
        axes.margins(x=0.22, y=0.18)
        _round_ticks(axes.xaxis)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: exact(x)))
        return _svg(figure, "quality", "average precision against end-to-end p50, by variant")


def _label(axes: Any, row: Row, rows: tuple[Row, ...], diameter: float) -> None:
    """Name and size above the dot and its interval; below where a close neighbour is higher."""
    if row.p50_seconds is None or row.ap is None:
        return
    higher = [
        other
        for other in rows
        if other.p50_seconds is not None
        and 0.5 < other.p50_seconds / row.p50_seconds < 2.0
        and (other.ap or 0.0, other.name) > (row.ap, row.name)
    ]
    below = bool(higher)
    edge = (row.ap_low if below else row.ap_high) or row.ap
    far = 4.0 if edge != row.ap else diameter / 2 + 4.0
    axes.annotate(f"{row.name} · {size(row.bytes)}", (row.p50_seconds, edge),
                  xytext=(0, -far if below else far), textcoords="offset points",
                  ha="center", va="top" if below else "bottom", fontsize=10, zorder=6)  # fmt: skip


def _svg(figure: Figure, prefix: str, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    text = text.replace("xlink:href", "href")
    # Two drawings in one page must not share ids.
    text = re.sub(r'id="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    for placeholder, variable in _PLACEHOLDERS.items():
        text = text.replace(placeholder, variable)
    for index in range(SERIES_COLOURS):
        text = text.replace(_colour(index), f"var(--c{index})")
    return text
