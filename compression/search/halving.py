"""Successive halving over families of chains: briefly all of them, longer the better half.

With several objectives the better half is the one of the lower non-dominated rank (Schmucker,
Donini, Zafar, Salinas and Archambeau, "Multi-objective Asynchronous Successive Halving", 2021);
within a rank those go on that are nearer to the targets, then those of higher quality. A family
is a trained model with all that is quantised from it: what is trained for one is there for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from compression.search.config import Limits
from compression.search.examined import Examined, ranks, shortfall
from compression.search.space import Plan

Try = Callable[[Sequence[Plan]], Mapping[str, Examined]]
"""Runs plans; gives those that were finished in time, by name."""


def halve(
    plans: Sequence[Plan], rungs: Sequence[float], limits: Limits, attempt: Try
) -> dict[str, Examined]:
    """Every chain that was tried, as it came out of the last rung that it finished."""
    known: dict[str, Examined] = {}
    alive = list(plans)
    for number, share in enumerate(rungs):
        known |= attempt([plan.scaled(share) for plan in alive])
        alive = [plan for plan in alive if plan.trains and plan.name in known]
        if number < len(rungs) - 1:
            alive = better_half(alive, known, limits)
    return known


def better_half(plans: Sequence[Plan], known: Mapping[str, Examined], limits: Limits) -> list[Plan]:
    """Plans of the better half of families, quickest to train first."""
    rank = ranks(list(known.values()))
    families: dict[str, list[Examined]] = {}
    for plan in plans:
        families.setdefault(plan.family, []).append(known[plan.name])

    def merit(family: str) -> tuple[float, ...]:
        return min(
            (rank[one.plan.name], shortfall(one, limits), -one.ap_ratio.value)
            for one in families[family]
        )

    best = sorted(families, key=merit)[: (len(families) + 1) // 2]
    best.sort(key=lambda family: min(one.seconds for one in families[family]))
    return [plan for family in best for plan in plans if plan.family == family]
