"""Numbers for people, the same on the page and on its Markdown twin."""

from __future__ import annotations

from compression.store import Estimate

ABSENT = "–"


def figure(value: float | None, digits: int = 4) -> str:
    """A share or ratio: 0.7641."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def interval(estimate: Estimate | None, digits: int = 3) -> str:
    """The 95 % interval alone: 0.746–0.782; empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.{digits}f}–{estimate.high:.{digits}f}"


def percent(value: float | None) -> str:
    """A share, with digits enough that 99.98 % does not read as 100 %."""
    if value is None:
        return ABSENT
    if value >= 1:
        return "100 %"
    return f"{min(99.99, 100 * value):.2f} %"


def count(value: int | None) -> str:
    """12,345."""
    return ABSENT if value is None else f"{value:,}"


def size(value: int) -> str:
    """A size in decimal units: 54 kB, 12.9 MB."""
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:,.0f} kB"


def milliseconds(value: float | None) -> str:
    """A latency given in seconds: 5.276 ms."""
    return ABSENT if value is None else f"{value * 1e3:.3f} ms"


def short(digest: str) -> str:
    """The first 16 characters of a hash."""
    return digest[:16]
