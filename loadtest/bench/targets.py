"""What is wanted of the serving path, and whether it was reached: computed, never declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from loadtest.bench.contenders import (
    APART,
    BARE_ASGI,
    DEPLOYMENT,
    FASTAPI,
    INLINE,
    LOOP,
    TUTORIAL,
)
from loadtest.bench.results import (
    Failure,
    HalfRate,
    Judged,
    Overload,
    RatioRow,
)
from loadtest.statistics import median, paired_ratio

RATIO, SHARE, SECONDS = "×", "%", "s"


@dataclass(frozen=True)
class RatioTarget:
    """A figure of one contender to that of another, in one body form."""

    of: str
    to: str
    figure: str
    body: str
    connections: tuple[int, ...]
    """Of the first; judged one by one."""
    bound: float
    at_least: bool = True


RATIO_TARGETS = (
    RatioTarget(INLINE, BARE_ASGI, "requests_per_second", "json", (16, 64), 0.8),
    RatioTarget(INLINE, FASTAPI, "requests_per_second", "json", (16, 64), 1.8),
    RatioTarget(INLINE, TUTORIAL, "requests_per_second", "json", (16, 64), 20.0),
    RatioTarget(DEPLOYMENT, TUTORIAL, "requests_per_second", "json", (16, 64), 6.0),
    RatioTarget(INLINE, BARE_ASGI, "p50_seconds", "json", (1,), 2.0, at_least=False),
    RatioTarget(INLINE, LOOP, "rows_per_second", "binary", (16, 64), 0.7),
)
TAIL = 10.0
"""p99 to p50 at half the highest rate, at most."""
GOODPUT = 0.9
GROWTH = 0.05
"""Memory that grows by no more than this during an overload is flat."""
RECOVERY_SECONDS = 2.0


@dataclass(frozen=True)
class Measured:
    """All that targets are judged on."""

    ratios: Sequence[RatioRow]
    half_rate: Sequence[HalfRate]
    overload: Sequence[Overload]
    failures: Sequence[Failure]


def judge_all(measured: Measured) -> tuple[Judged, ...]:
    """Every target, in the order in which they are printed."""
    judged = [one for target in RATIO_TARGETS for one in _ratio_targets(target, measured)]
    for name in (INLINE, APART):
        runs = [run for run in measured.half_rate if run.name == name]
        overloads = [run for run in measured.overload if run.name == name]
        # Not everybody has the cores for the second.
        if name == INLINE or runs or overloads:
            judged += (_tail(name, runs), *_overload(name, overloads))
    return tuple(judged)


def _ratio_targets(target: RatioTarget, measured: Measured) -> Iterator[Judged]:
    for connections in target.connections:
        found = [
            row
            for row in measured.ratios
            if (row.of.name, row.to.name, row.figure, row.of.body, row.of.connections)
            == (target.of, target.to, target.figure, target.body, connections)
        ]
        name = f"{target.of} to {target.to}, {connections} connections"
        note = "" if found else _why_not(target, measured)
        row = found[0] if found else None
        yield judge(
            name,
            target.figure,
            RATIO,
            bound=target.bound,
            at_least=target.at_least,
            value=row.ratio if row else None,
            low=row.low if row else None,
            high=row.high if row else None,
            note=note,
        )


def _why_not(target: RatioTarget, measured: Measured) -> str:
    for failure in measured.failures:
        if failure.name in (target.of, target.to) and failure.body == target.body:
            return failure.message
    return "not measured"


def judge(
    name: str,
    figure: str,
    unit: str,
    *,
    bound: float,
    at_least: bool,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    note: str = "",
) -> Judged:
    """Hold a value against its bound; what was not measured was not reached."""
    missed_by = None
    if value is not None:
        short = (bound - value if at_least else value - bound) / bound
        missed_by = short if short > 0 else None
    return Judged(
        name=name,
        figure=figure,
        unit=unit,
        at_least=at_least,
        bound=bound,
        value=value,
        low=low,
        high=high,
        reached=value is not None and missed_by is None,
        missed_by=missed_by,
        note=note,
    )


def _tail(name: str, runs: Sequence[HalfRate]) -> Judged:
    """Each run by itself, then their median: every run has a rate of its own, and the p99 of one
    belongs to no other's p50."""
    ratio = paired_ratio([_p99_to_p50(run) for run in runs], [1.0] * len(runs))
    faults = sorted({fault for run in runs for fault in run.faults})
    return judge(
        f"{name} at half its highest rate",
        "p99 to p50",
        RATIO,
        bound=TAIL,
        at_least=False,
        value=ratio.value if ratio else None,
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        note="; ".join(faults) or ("" if runs else "not measured"),
    )


def _p99_to_p50(run: HalfRate) -> float | None:
    if run.p99_seconds is None or not run.p50_seconds:
        return None
    return run.p99_seconds / run.p50_seconds


def _overload(name: str, runs: Sequence[Overload]) -> Iterator[Judged]:
    """What a run promises to whoever asks has to hold in the worst of them.

    Goodput to capacity is a ratio of two rates of a machine that drifts: the median, as all ratios.
    """
    deadline = runs[0].deadline_seconds if runs else 1.0
    yield _goodput(name, runs)
    worst = partial(_worst, name, runs)
    yield worst("p99 of accepted requests", SECONDS, deadline, lambda run: run.accepted_p99_seconds)
    yield worst("growth of memory", SHARE, GROWTH, lambda run: run.memory_growth)
    yield worst("recovery", SECONDS, RECOVERY_SECONDS, lambda run: run.recovery_seconds)


def _goodput(name: str, runs: Sequence[Overload]) -> Judged:
    shares = [run.goodput_share for run in runs]
    return judge(
        f"{name}, overload, median of {len(runs)}",
        "goodput to capacity",
        SHARE,
        bound=GOODPUT,
        at_least=True,
        value=median(shares),
        low=min(shares, default=None),
        high=max(shares, default=None),
        note="" if runs else "not measured",
    )


def _worst(
    name: str,
    runs: Sequence[Overload],
    figure: str,
    unit: str,
    bound: float,
    of: Callable[[Overload], float | None],
) -> Judged:
    """The most of all runs."""
    values = [of(run) for run in runs]
    known = [value for value in values if value is not None]
    # One run without a figure, such as one that did not recover, is a miss.
    whole = known if known and len(known) == len(values) else []
    note = "not measured" if not runs else "" if whole else "no figure in one of the runs"
    return judge(
        f"{name}, overload, worst of {len(runs)}", figure, unit,
        bound=bound, at_least=False, value=max(whole, default=None),
        low=min(known, default=None), high=max(known, default=None), note=note,
    )  # fmt: skip
