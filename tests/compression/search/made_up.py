"""Examined chains with figures of one's choice."""

from __future__ import annotations

from compression.search.examined import Examined
from compression.search.space import Plan
from compression.store import Estimate

P50_SECONDS = 0.001


def plan(name: str, family: str | None = None, epochs: int = 8) -> Plan:
    """A student's chain, alone or as one of a family."""
    return Plan(name, ({"distill": {"epochs": epochs}},), family or name)


def examined(
    name: str,
    ap_ratio: float = 1.0,
    faster: float = 1.0,
    size: int = 1000,
    *,
    gate: str = "passed",
    family: str | None = None,
    seconds: float = 1.0,
) -> Examined:
    """p50 is 1 ms divided by `faster`, p99 twice that."""
    p50 = P50_SECONDS / faster
    return Examined(
        plan(name, family), "0" * 64, size, Estimate(value=ap_ratio), gate,
        p50, 2 * p50, Estimate(value=faster), seconds,
    )  # fmt: skip
