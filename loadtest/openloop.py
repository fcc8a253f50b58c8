"""One headless open-loop run, judged: `python -m loadtest run`."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.documents import Document
from loadtest.generator import Generator, Setup
from loadtest.measurement import Histograms, Measurement, Probe, ProbeSpec
from loadtest.validity import Limits, faults


class RunResult(Document):
    """A run with its verdict; `reasons` says in words why it is not valid."""

    setup: Setup
    limits: Limits
    measurement: Measurement
    histograms: Histograms
    valid: bool
    reasons: tuple[str, ...]
    p99_sufficient: bool
    p999_sufficient: bool


def run(
    setup: Setup,
    spec: ProbeSpec,
    limits: Limits,
    start: Callable[[Setup], Generator] = Generator,
) -> RunResult:
    """Make one open-loop run in a generator process of its own, and judge it.

    A short warm-up comes first, at a tenth of the rate's length or one second, not counted.
    """
    with start(setup) as generator:
        warm_up = spec.model_copy(
            update={"duration_seconds": min(1.0, spec.duration_seconds / 10), "seed": spec.seed + 1}
        )
        generator.open_loop(warm_up)
        probe = generator.open_loop(spec)
    return judge(setup, probe, limits)


def judge(setup: Setup, probe: Probe, limits: Limits) -> RunResult:
    """The result of a probe, with its verdict."""
    reasons = faults(probe.measurement, limits)
    return RunResult(
        setup=setup,
        limits=limits,
        measurement=probe.measurement,
        histograms=probe.histograms,
        valid=not reasons,
        reasons=reasons,
        p99_sufficient=probe.measurement.response.p99_sufficient,
        p999_sufficient=probe.measurement.response.p999_sufficient,
    )
