"""Numbers for people: the same in the console, the page and the Markdown twin."""

from __future__ import annotations

NOT_MEASURED = "–"


def seconds(value: float | None) -> str:
    """A duration with its unit: 850 µs, 4.2 ms, 1.3 s."""
    if value is None:
        return NOT_MEASURED
    if value < 0.9995e-3:
        return f"{_digits(value * 1e6)} µs"
    if value < 0.9995:
        return f"{_digits(value * 1e3)} ms"
    return f"{_digits(value)} s"


def exact(value: float) -> str:
    """A round duration, such as an SLO or a tick of an axis, without needless decimals: 50 ms."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * scale >= 0.9995:
            return f"{value * scale:g} {unit}"
    return f"{value * 1e6:g} µs"


def count(value: int | None) -> str:
    """A count: 812, 13.5 k, 18.2 M."""
    if value is None:
        return NOT_MEASURED
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if value >= size:
            return f"{_digits(value / size)} {unit}"
    return str(value)


def size(value: int | None) -> str:
    """A size in decimal units: 54 kB, 73 MB."""
    if value is None:
        return NOT_MEASURED
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= step:
            return f"{_digits(value / step)} {unit}"
    return f"{value} B"


def rate(value: float | None) -> str:
    """A rate per second, without its unit: 84, 1,240."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(value: float | None) -> str:
    """A share, with digits enough that 99.98 % does not read as 100 %."""
    if value is None:
        return NOT_MEASURED
    if value >= 1.0:
        return "100 %"
    return f"{min(99.99, value * 100):.2f} %"


def times(value: float | None) -> str:
    """A ratio: 12×, 3.4×, 0.96×."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.2g}×" if value < 0.1 else f"{_digits(value)}×"


def _digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
