"""How a comparison spends its time."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from loadtest.documents import Document
from loadtest.histogram import samples_needed

Profile = Literal["quick", "full"]


class ProfilePlan(Document):
    """Durations and repeats of a profile, before a budget scales them."""

    rounds: PositiveInt
    scout_seconds: PositiveFloat
    """Closed-loop burst that finds a variant's order of magnitude."""
    low_seconds: PositiveFloat
    """Least length of a run at the common low rate, per round."""
    probe_seconds: PositiveFloat
    """Least length of a probe of the search."""
    longest_probe_seconds: PositiveFloat
    first_probes: PositiveInt
    """Probes of the search in the first round, which starts from a guess."""
    next_probes: PositiveInt
    """Probes in later rounds, which start from the round before."""
    busy_seconds: PositiveFloat
    curve: tuple[float, ...]
    """Offered loads for the plot, as shares of R_slo; measured in the first round only."""
    curve_seconds: PositiveFloat
    budget_seconds: PositiveFloat | None
    """Default budget of the whole comparison; None takes what it needs."""


PROFILES: dict[Profile, ProfilePlan] = {
    "quick": ProfilePlan(
        rounds=2,
        scout_seconds=0.7,
        low_seconds=1.5,
        probe_seconds=0.7,
        longest_probe_seconds=5.0,
        first_probes=7,
        next_probes=4,
        busy_seconds=1.0,
        curve=(1.3,),
        curve_seconds=0.8,
        budget_seconds=150.0,
    ),
    "full": ProfilePlan(
        rounds=5,
        scout_seconds=2.0,
        low_seconds=8.0,
        probe_seconds=2.0,
        longest_probe_seconds=10.0,
        first_probes=12,
        next_probes=6,
        busy_seconds=5.0,
        curve=(0.25, 0.5, 0.9, 1.1, 1.3, 1.7),
        curve_seconds=3.0,
        budget_seconds=None,
    ),
}

BUSY_SHARE = 0.7
"""The busy run offers this share of the variant's own R_slo."""

COMMON_SHARE = 0.4
"""The common low rate is this share of the slowest variant's saturated throughput."""

_ENOUGH = samples_needed(0.99) * 1.05
_LEAST_SECONDS = 0.5


class CellTimes(Document):
    """Planned seconds of one variant in one round."""

    low_seconds: float
    probe_seconds: float
    probes: int
    busy_seconds: float
    curve_seconds: float

    def total_seconds(self, curve_points: int) -> float:
        """The whole cell. A failing probe ends early, so the search seldom takes all of its."""
        search = 0.75 * self.probes * self.probe_seconds
        return self.low_seconds + search + self.busy_seconds + curve_points * self.curve_seconds

    def scaled(self, scale: float) -> CellTimes:
        """The same cell in less time; below half a second a run says nothing.

        The runs at the common rate are cut least: the table quotes their p99.
        """
        scales = {
            "low_seconds": min(1.0, scale + 0.2),
            "probe_seconds": scale,
            "busy_seconds": scale,
            "curve_seconds": scale,
        }
        return self.model_copy(
            update={
                name: max(_LEAST_SECONDS, share * getattr(self, name))
                for name, share in scales.items()
            }
        )


def cell_times(
    plan: ProfilePlan, *, first: bool, capacity_per_second: float, common_rate_per_second: float
) -> CellTimes:
    """Seconds that a variant of this capacity needs for samples enough to quote p99.

    The runs at the low rate share their samples over all rounds; a probe stands alone.
    """
    share = _ENOUGH / plan.rounds / common_rate_per_second
    near_limit = _ENOUGH / (0.75 * capacity_per_second)
    return CellTimes(
        low_seconds=max(plan.low_seconds, share),
        probe_seconds=min(max(plan.probe_seconds, near_limit), plan.longest_probe_seconds),
        probes=plan.first_probes if first else plan.next_probes,
        busy_seconds=max(plan.busy_seconds, min(near_limit, 2 * plan.busy_seconds)),
        curve_seconds=plan.curve_seconds,
    )
