"""R_slo: the highest open-loop rate at which p99 and errors hold.

From a start the rate grows geometrically until a probe fails (or shrinks until one passes), then
the bracket is halved in log space. Nothing here knows how a probe is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from loadtest.documents import Document
from loadtest.measurement import Measurement
from loadtest.validity import Limits, generator_faults, wrong_answers

Cause = Literal["slo", "errors", "generator"]


class SearchSettings(Document):
    """How a search goes."""

    start_rate_per_second: PositiveFloat
    growth: float = Field(default=1.6, gt=1.0)
    probes: PositiveInt = 10
    retries: NonNegativeInt = 1
    """How often a failing rate is tried again: one stall of a shared machine is not its limit."""
    tolerance: float = Field(default=0.04, gt=0.0)
    """Stop when the lowest failing rate is within this share of the highest passing one."""
    max_rate_per_second: PositiveFloat = 50_000.0


class SearchResult(Document):
    """What a search found. `r_slo_per_second` is None where no probe passed."""

    r_slo_per_second: float | None
    failed_at_per_second: float | None
    """Lowest rate that failed, or None where none did."""
    limited_by: Literal["slo", "errors", "generator", "probes", "ceiling"]
    """Why it does not go higher; `probes` means that the search ended before it was narrowed
    down to a quarter, so that R_slo is a lower bound."""
    probes: tuple[Measurement, ...]

    def at_limit(self) -> Measurement | None:
        """The passing probe at R_slo."""
        rates = (p for p in self.probes if p.spec.rate_per_second == self.r_slo_per_second)
        return next((p for p in reversed(list(rates))), None)


def failure(run: Measurement, limits: Limits) -> Cause | None:
    """Why this rate does not hold, or None where it does.

    The generator is the cause where it used up its core, or where the time from the real send
    still holds the SLO and only its own lateness breaks it. A generator that is late and holds
    the SLO all the same does no harm: the response time counts from the intended send.
    """
    response, service = run.response.p99_seconds, run.service.p99_seconds
    busy = run.generator_cpu_share > limits.generator_cpu_share
    slow = response is None or response > limits.slo_seconds or run.stopped_early
    if slow or run.unfinished or run.dropped:
        late = bool(generator_faults(run, limits)) and (
            service is not None and service <= limits.slo_seconds
        )
        return "generator" if busy or late else "slo"
    if run.error_share > limits.error_share or wrong_answers(run):
        return "errors"
    if run.achieved_ratio < limits.achieved_ratio:
        return "generator"
    return None


def search(
    probe: Callable[[float], Measurement],
    settings: SearchSettings,
    limits: Limits,
    may_go_on: Callable[[], bool] = lambda: True,
) -> SearchResult:
    """Find R_slo with at most `settings.probes` probes.

    `may_go_on` ends the search earlier, but not before a rate has passed: a rate that fails is
    noticed quickly, and without any that passes there is no result.
    """
    passed: float | None = None
    failed: float | None = None
    cause: Cause | None = None
    probes: list[Measurement] = []
    rate = settings.start_rate_per_second
    while len(probes) < settings.probes and (passed is None or may_go_on()):
        why: Cause | None = None
        for _ in range(1 + settings.retries):
            probes.append(probe(rate))
            why = failure(probes[-1], limits)
            if why is None or len(probes) >= settings.probes:
                break
        if why is None:
            passed = rate
        else:
            failed, cause = rate, why
        if _narrow(passed, failed, settings) or passed == settings.max_rate_per_second:
            break
        rate = _next_rate(passed, failed, settings)
    return SearchResult(
        r_slo_per_second=passed,
        failed_at_per_second=failed,
        limited_by=_limit(passed, failed, cause, settings),
        probes=tuple(probes),
    )


def _limit(
    passed: float | None, failed: float | None, cause: Cause | None, settings: SearchSettings
) -> Literal["slo", "errors", "generator", "probes", "ceiling"]:
    if passed is not None and passed == settings.max_rate_per_second:
        return "ceiling"
    if cause is None or failed is None:
        return "probes"
    return "probes" if passed is not None and failed > 1.25 * passed else cause


def _narrow(passed: float | None, failed: float | None, settings: SearchSettings) -> bool:
    return (
        passed is not None and failed is not None and failed <= passed * (1.0 + settings.tolerance)
    )


def _next_rate(passed: float | None, failed: float | None, settings: SearchSettings) -> float:
    if passed is None:
        return (failed or settings.start_rate_per_second) / settings.growth**2
    if failed is None:
        return min(passed * settings.growth, settings.max_rate_per_second)
    return math.sqrt(passed * failed)
