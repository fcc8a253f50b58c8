"""What is known of a tried chain, and how it stands to the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from compression.search.config import Limits
from compression.search.space import Plan
from compression.store import Estimate


@dataclass(frozen=True)
class Examined:
    """A finished chain: quality on validation rows, latency at 1 row, size."""

    plan: Plan
    content_sha256: str
    bytes: int
    ap_ratio: Estimate
    gate: str
    """Verdict of the recipe's gate on validation rows."""
    p50_seconds: float
    p99_seconds: float
    times_faster: Estimate
    """Against the original's own graph, in turns."""
    seconds: float = 0.0
    """What its techniques took."""

    def timed(self, p50_seconds: float, p99_seconds: float, times_faster: Estimate) -> Examined:
        """The same with another measurement."""
        return replace(
            self, p50_seconds=p50_seconds, p99_seconds=p99_seconds, times_faster=times_faster
        )

    @property
    def costs(self) -> tuple[float, float, float]:
        """Less is better in each: loss of quality, p50 relative to the original's, bytes."""
        return -self.ap_ratio.value, 1 / self.times_faster.value, float(self.bytes)


@dataclass(frozen=True)
class Excess:
    """A target that is missed: the figure and its limit, in the target's own unit."""

    target: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.target} {_number(self.value)} > {_number(self.limit)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def excesses(examined: Examined, limits: Limits) -> tuple[Excess, ...]:
    """The targets that a chain misses, none if it meets them all."""
    return tuple(
        Excess(target, value, limit)
        for target, value, limit in _held(examined, limits)
        if value > limit
    )


def shortfall(examined: Examined, limits: Limits) -> float:
    """How far from the targets: over those missed, the sum of log(value / limit)."""
    tiny = 1e-6  # a limit may be 0
    return sum(
        math.log((excess.value + tiny) / (excess.limit + tiny))
        for excess in excesses(examined, limits)
    )


def _held(examined: Examined, limits: Limits) -> Iterator[tuple[str, float, float]]:
    if limits.max_ap_loss is not None:
        yield "loss of average precision", 1 - examined.ap_ratio.value, limits.max_ap_loss
    if limits.p99_ms is not None:
        yield "p99 in ms", examined.p99_seconds * 1e3, limits.p99_ms
    if limits.max_bytes is not None:
        yield "bytes", float(examined.bytes), float(limits.max_bytes)


def dominates(one: Examined, other: Examined) -> bool:
    """Whether `one` is nowhere worse and somewhere better."""
    return one.costs != other.costs and all(
        a <= b for a, b in zip(one.costs, other.costs, strict=True)
    )


def front(examined: Sequence[Examined]) -> tuple[Examined, ...]:
    """Those that no other dominates, fastest first."""
    chosen = [one for one in examined if not any(dominates(other, one) for other in examined)]
    return tuple(sorted(chosen, key=lambda one: one.costs[1]))


def ranks(examined: Sequence[Examined]) -> dict[str, int]:
    """Non-dominated rank by name: 0 on the front, 1 on the front of what is left, and so on."""
    found: dict[str, int] = {}
    left, rank = list(examined), 0
    while left:
        best = front(left)
        found |= {one.plan.name: rank for one in best}
        left = [one for one in left if one.plan.name not in found]
        rank += 1
    return found
