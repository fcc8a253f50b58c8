"""Choose the variant to recommend, and say why in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compression.search.config import Limits
from compression.search.examined import Examined, excesses, shortfall


@dataclass(frozen=True)
class Recommendation:
    """`name` is None if nobody meets the targets; then `nearest` misses least."""

    name: str | None
    nearest: str
    reason: str


def recommend(front: Sequence[Examined], limits: Limits) -> Recommendation:
    """The fastest of the front that meets all targets, if it can be one that passes the gate.

    Chosen on validation rows and on latencies measured in turns; test rows are not looked at.
    """
    meeting = [one for one in front if not excesses(one, limits)]
    if not meeting:
        nearest = min(front, key=lambda one: (shortfall(one, limits), one.costs[1]))
        missed = "; ".join(map(str, excesses(nearest, limits)))
        return Recommendation(
            None,
            nearest.plan.name,
            f"no variant meets the targets; nearest is {nearest.plan.name}, misses {missed}",
        )
    passing = [one for one in meeting if one.gate == "passed"]
    best = min(passing or meeting, key=lambda one: (one.costs[1], one.bytes))
    return Recommendation(best.plan.name, best.plan.name, _why(best, meeting, passing, limits))


def _why(
    best: Examined, meeting: Sequence[Examined], passing: Sequence[Examined], limits: Limits
) -> str:
    kept = f"keeps {100 * best.ap_ratio.value:.2f} % of the original's average precision"
    if limits.max_ap_loss is not None:
        kept += f" (at least {100 * (1 - limits.max_ap_loss):.2f} % wanted)"
    quick = f"answers 1 row in {best.p99_seconds * 1e3:.3g} ms at p99"
    if limits.p99_ms is not None:
        quick += f" (at most {limits.p99_ms:g} wanted)"
    small = f"has {best.bytes:,} bytes"
    if limits.max_bytes is not None:
        small += f" (at most {limits.max_bytes:,} wanted)"
    among = f"the fastest of {len(meeting)} on the front that meet the targets"
    if not passing:
        among += ", none of which passes the recipe's gate on validation rows"
    elif len(passing) < len(meeting):
        among = (
            f"the fastest of {len(passing)} on the front that meet the targets and pass the gate"
        )
    return f"{best.plan.name} on validation rows {kept}, {quick} and {small}: {among}"
