"""The front as a picture: quality against latency, bubbles as large as the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from compression.search.results import SearchResults, Tried

SMALLEST, LARGEST = 30.0, 900.0
"""Areas of bubbles, square points."""
STYLE: Any = {
    "svg.hashsalt": "slimserve",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


def draw(results: SearchResults, folder: Path) -> tuple[Path, ...]:
    """Write front.png and front.svg into the folder; gives their paths."""
    paths = tuple(folder / f"front.{kind}" for kind in ("png", "svg"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 6), layout="constrained")
        axes = figure.add_subplot()
        _bubbles(axes, results)
        _targets(axes, results)
        axes.set_xscale("log")
        axes.set_xlabel("latency of 1 row, ms: ● p50, whisker to p99")
        axes.set_ylabel("average precision kept, % of the original's (validation rows)")
        axes.set_title(f"{results.model}: quality, latency and size (area: bytes)")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, markerscale=0.5)
        for path in paths:
            figure.savefig(path, dpi=150)
    return paths


def _bubbles(axes: Any, results: SearchResults) -> None:
    front = [one for one in results.tried if one.on_front]
    others = [one for one in results.tried if not one.on_front]
    most = max(one.bytes for one in results.tried)
    for ones, colour, label in ((others, "#bbbbbb", "tried"), (front, "#3366cc", "front")):
        axes.scatter(
            [_ms(one) for one in ones],
            [_percent(one) for one in ones],
            s=[SMALLEST + (LARGEST - SMALLEST) * one.bytes / most for one in ones],
            c=colour,
            alpha=0.6,
            label=label,
        )
    axes.plot([_ms(one) for one in front], [_percent(one) for one in front], "-", c="#3366cc", lw=1)
    axes.hlines(
        [_percent(one) for one in front],
        [_ms(one) for one in front],
        [one.p99_seconds * 1e3 for one in front],
        colors="#3366cc",
        lw=0.8,
    )
    for one in front:
        mark = "★ " if one.name == results.recommended else ""
        axes.annotate(
            f"{mark}{one.name}, {one.bytes / 1e3:,.0f} kB",
            (_ms(one), _percent(one)),
            xytext=(4, 6),
            textcoords="offset points",
            fontsize=8,
        )


def _targets(axes: Any, results: SearchResults) -> None:
    loss, p99 = (results.targets[name] for name in ("max_ap_loss", "p99_ms"))
    if loss is not None:
        axes.axhline(100 * (1 - loss), c="#cc3333", ls="--", lw=1, label="least quality wanted")
    if p99 is not None:
        axes.axvline(p99, c="#cc3333", ls=":", lw=1, label="longest p99 wanted")


def _ms(one: Tried) -> float:
    return one.p50_seconds * 1e3


def _percent(one: Tried) -> float:
    return 100 * one.ap_ratio.value
