"""The card's figures of one variant. `prefix` keeps ids of several figures in a page apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from compression.card.drawing import ACCENT, BASE, BETTER, INK, MUTED, WORSE, canvas, svg
from compression.store import ReliabilityBin, ScoreDifferences, Segment

Bins = tuple[ReliabilityBin, ...]
HALF, WHOLE = (5.6, 3.9), 11.4
LOWEST, HIGHEST = 1e-4, 0.999
"""Ends of the reliability diagram's axes: there is no logit of 0 and 1."""
TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99)
PER = 10_000
CLOSE = 0.01
"""Around 1; an axis that shows less would make much of nothing."""


def reliability_figure(original: Bins, variant: Bins | None, prefix: str) -> str:
    """Observed against predicted frequency on logit axes; the original's pale, for comparison."""
    with canvas(*HALF) as (figure, axes):
        probabilities = all(0 <= point.predicted <= 1 for point in (*original, *(variant or ())))
        if probabilities:
            _logit_axes(axes)
            axes.plot([LOWEST, HIGHEST], [LOWEST, HIGHEST], color=MUTED, linewidth=1.0,
                      linestyle=(0, (5, 4)))  # fmt: skip
        _draw_bins(axes, original, BASE if variant else ACCENT, "original", "s")
        if variant:
            _draw_bins(axes, variant, ACCENT, "variant", "o")
            axes.legend(frameon=False, loc="upper left")
        axes.set_xlabel("mean score of the bin")
        axes.set_ylabel("share that was positive")
        return svg(figure, f"{prefix}-reliability", "observed share against mean score")


def _logit_axes(axes: Any) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        getattr(axes, f"set_{axis.axis_name}scale")("logit")
        axis.set_major_locator(FixedLocator(TICKS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlim(LOWEST, HIGHEST)
    axes.set_ylim(LOWEST, HIGHEST)


def _draw_bins(axes: Any, bins: Bins, colour: str, label: str, marker: str) -> None:
    points = np.array([[b.predicted, b.observed, b.low, b.high] for b in bins])
    if axes.get_xscale() == "logit":
        points = points.clip(LOWEST, HIGHEST)
    x, y, low, high = points.T
    axes.vlines(x, low, high, color=colour, linewidth=1.3, alpha=0.75, zorder=2)
    axes.plot(x, y, color=colour, linewidth=1.4, marker=marker, markersize=4.5, label=label,
              zorder=3)  # fmt: skip


def differences_figure(differences: ScoreDifferences, prefix: str) -> str:
    """Share of rows by how far the score moved; a logarithmic axis, for most hardly move."""
    with canvas(*HALF) as (figure, axes):
        edges, shares = differences.edges, np.array(differences.shares)
        places = np.arange(len(shares))
        middle = len(shares) // 2
        colours = [BASE if place == middle else ACCENT for place in places]
        axes.bar(places, shares, width=0.86, color=colours)
        axes.set_yscale("log")
        smallest = float(shares[shares > 0].min())
        axes.set_ylim(10 ** np.floor(np.log10(smallest)), 1.6)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.set_xticks(np.arange(len(edges)) - 0.5, [f"{edge:+g}" for edge in edges],
                        rotation=50, ha="right", rotation_mode="anchor", fontsize=9)  # fmt: skip
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("score of the variant minus score of the original")
        axes.set_ylabel("share of rows")
        return svg(figure, f"{prefix}-differences", "histogram of score differences")


def segments_figure(segments: tuple[Segment, ...], prefix: str) -> str:
    """Ratio of average precision by segment with its interval, against 1."""
    with canvas(WHOLE, 0.55 + 0.31 * _lines(segments)) as (figure, axes):
        axes.axvline(1.0, color=MUTED, linewidth=1.0, linestyle=(0, (5, 4)))
        labels: list[str] = []
        places: list[float] = []
        for place, segment in _placed(segments):
            ratio = segment.average_precision_ratio
            few = "" if ratio else ", too few to tell"
            labels.append(f"{segment.name}  ({segment.positives:,} positives{few})")
            places.append(place)
            if ratio is None:
                continue
            low, high = ratio.low or ratio.value, ratio.high or ratio.value
            colour = WORSE if high < 1 else BETTER if low > 1 else ACCENT
            axes.hlines(place, low, high, color=colour, linewidth=2.2)
            axes.plot([ratio.value], [place], marker="o", markersize=6, color=colour)
        _name_dimensions(axes, segments)
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(max(places) + 0.7, -1.7)
        axes.grid(visible=False, axis="y")
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, 1 - CLOSE), max(right, 1 + CLOSE))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.5g}"))
        axes.set_xlabel("average precision, variant divided by original")
        return svg(figure, f"{prefix}-segments", "ratio of average precision by segment")


def _placed(segments: tuple[Segment, ...]) -> list[tuple[float, Segment]]:
    """Each segment's line, with one left free above each dimension for its name."""
    placed: list[tuple[float, Segment]] = []
    line, before = -1.0, None
    for segment in segments:
        line += 1.0 if segment.dimension == before or before is None else 2.0
        placed.append((line, segment))
        before = segment.dimension
    return placed


def _lines(segments: tuple[Segment, ...]) -> int:
    return len(segments) + len({segment.dimension for segment in segments})


def _name_dimensions(axes: Any, segments: tuple[Segment, ...]) -> None:
    before = None
    for place, segment in _placed(segments):
        if segment.dimension != before:
            axes.annotate(segment.dimension, (0.0, place - 1), xycoords=("axes fraction", "data"),
                          xytext=(4, 0), textcoords="offset points", va="center",
                          fontweight="bold", color=INK)  # fmt: skip
            before = segment.dimension


def changes_figure(segments: tuple[Segment, ...], prefix: str) -> str:
    """Changed decisions by segment of one dimension, per 10,000 rows: alerts lost to the left."""
    shown = [(s, s.changes) for s in segments if s.changes is not None]
    with canvas(WHOLE, 1.0 + 0.36 * len(shown)) as (figure, axes):
        for place, (_, changes) in enumerate(shown):
            lost, gained = PER * changes.alert_to_pass_share, PER * changes.pass_to_alert_share
            axes.barh(place, -lost, height=0.66, color=WORSE)
            axes.barh(place, gained, height=0.66, color=ACCENT)
            _end(axes, -lost, place, f"{lost:,.1f}", "right")
            _end(axes, gained, place, f"{gained:,.1f}", "left")
        axes.axvline(0.0, color=MUTED, linewidth=1.0)
        axes.set_yticks(range(len(shown)), [segment.name for segment, _ in shown])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, -1.0), max(right, 1.0))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,g}"))
        axes.set_xlabel(f"← alerts that became passes | passes that became alerts → (per {PER:,})")
        return svg(figure, f"{prefix}-changes", "changed decisions by segment")


def _end(axes: Any, at: float, place: int, text: str, side: str) -> None:
    """A number beside the end of a bar; `side` is that of the text which is nearest to it."""
    axes.annotate(text, (at, place), xytext=(4 if side == "left" else -4, 0),
                  textcoords="offset points", ha=side, va="center", fontsize=9.5)  # fmt: skip
