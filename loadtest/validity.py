"""Whether the numbers of a run may be quoted, and if not, why, in words."""

from __future__ import annotations

from pydantic import PositiveFloat

from loadtest.documents import Document
from loadtest.histogram import samples_needed
from loadtest.measurement import Measurement


class Limits(Document):
    """Bounds of a valid run."""

    slo_seconds: PositiveFloat = 0.05
    lag_share: float = 0.05
    """Dispatch-lag p99 may be this share of the SLO."""
    achieved_ratio: float = 0.99
    generator_cpu_share: float = 0.90
    error_share: float = 0.001
    """Rejected, failed, unfinished and dropped requests: this share of the schedule."""

    @property
    def lag_seconds(self) -> float:
        """Largest dispatch-lag p99, seconds."""
        return self.lag_share * self.slo_seconds


def generator_faults(run: Measurement, limits: Limits) -> tuple[str, ...]:
    """What the generator itself could not do; the server has no part in these."""
    faults = []
    lag = run.lag.p99_seconds
    if not run.stopped_early and run.achieved_ratio < limits.achieved_ratio:
        faults.append(
            f"achieved {run.achieved_ratio:.1%} of the scheduled rate "
            f"(at least {limits.achieved_ratio:.0%} is needed)"
        )
    if lag is not None and lag > limits.lag_seconds:
        faults.append(
            f"dispatch-lag p99 is {lag * 1e3:.2f} ms, over {limits.lag_share:.0%} of the SLO "
            f"({limits.lag_seconds * 1e3:.2f} ms): the generator was late"
        )
    if run.generator_cpu_share > limits.generator_cpu_share:
        faults.append(
            f"the generator used {run.generator_cpu_share:.0%} of a core "
            f"(at most {limits.generator_cpu_share:.0%})"
        )
    return tuple(faults)


def wrong_answers(run: Measurement) -> tuple[str, ...]:
    """Whether a pinned variant was answered for by another one."""
    wanted = run.spec.variant
    other = {name: n for name, n in run.answered_by.items() if name not in ("", wanted)}
    if not wanted or not other:
        return ()
    named = ", ".join(f"{name} ({n})" for name, n in sorted(other.items()))
    return (f"{wanted} was asked for, but other variants answered: {named}",)


def faults(run: Measurement, limits: Limits) -> tuple[str, ...]:
    """Every reason why the run must not be quoted; empty for a valid run."""
    found = [*generator_faults(run, limits), *wrong_answers(run)]
    if run.dropped:
        found.append(f"{run.dropped} requests were dropped: all connections were waiting")
    if run.unfinished:
        found.append(f"{run.unfinished} requests had no answer when the run ended")
    if run.failed and run.failed / max(1, run.sent) > limits.error_share:
        found.append(f"{run.failed} of {run.sent} requests failed ({_statuses(run)})")
    if run.rejected and run.rejected / max(1, run.sent) > limits.error_share:
        found.append(f"{run.rejected} of {run.sent} requests were shed (429)")
    if run.response.count < samples_needed(0.99):
        found.append(
            f"{run.response.count} samples are too few for a p99 "
            f"({samples_needed(0.99)} are needed): run longer, or at a higher rate"
        )
    return tuple(found)


def _statuses(run: Measurement) -> str:
    return ", ".join(
        f"{n} × {'broken connection' if status == '0' else status}"
        for status, n in run.statuses.items()
        if status != "200"
    )
