"""Three times what the server can do: light load, overload, light load again, in one open loop.

Capacity is what our own client gets out of the same server closed-loop: the mean of right before
and right after, for a minute is long enough for a shared machine to become another one. A client
that shares the server's cores takes more of them during the overload, for it sends three times as
much: that lowers the goodput, not the capacity it is held against.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from loadtest.bench.contenders import Contender
from loadtest.bench.options import BenchOptions, OverloadOptions
from loadtest.bench.results import Overload
from loadtest.bench.visit import client, started
from loadtest.generator import Generator
from loadtest.measurement import ClosedSpec
from loadtest.phases import Phase, PhasedResult, PhasedSpec, Stretch
from loadtest.processes import MemoryWatch, make_accountant

DEADLINE_HEADER = "x-request-timeout-seconds"
LIGHT, OVERLOAD, AFTER = "light", "overload", "after"
_TIMES_AS_SLOW = 2.0
_FEWEST_SAMPLES = 5


def overload(contender: Contender, options: BenchOptions, run: int) -> Overload:
    """Start the contender, find its capacity, ask for more, and stop it.

    Raises:
        UnreachableError, GeneratorError: it does not start, or not one request is answered.
    """
    wanted = options.overload
    deadline = {DEADLINE_HEADER: f"{wanted.deadline_seconds:g}"}
    setup = client(contender, contender.json, deadline)
    with started(contender, options), Generator(setup) as generator:
        closed = ClosedSpec(
            connections=max(options.connections), duration_seconds=wanted.capacity_seconds
        )
        before = generator.closed_loop(closed).requests_per_second
        spec = plan(before, wanted, run)
        with _Memory(contender.url, generator.pid, spec) as memory:
            result = generator.phased(spec)
        after = generator.closed_loop(closed).requests_per_second
    return summarise(contender.name, (before, after), result, memory.samples)


def plan(capacity: float, wanted: OverloadOptions, seed: int) -> PhasedSpec:
    """The three phases."""
    light = max(1.0, wanted.light_share * capacity)
    return PhasedSpec(
        phases=(
            Phase(name=LIGHT, rate_per_second=light, duration_seconds=wanted.light_seconds),
            Phase(
                name=OVERLOAD,
                rate_per_second=max(1.0, wanted.times_capacity * capacity),
                duration_seconds=wanted.seconds,
            ),
            Phase(name=AFTER, rate_per_second=light, duration_seconds=wanted.light_seconds),
        ),
        seed=seed,
        deadline_seconds=wanted.deadline_seconds,
    )


def summarise(
    name: str, capacities: tuple[float, float], result: PhasedResult, memory: Sequence[int]
) -> Overload:
    """What the run says of the contender; `capacities` before and after it, `memory` in bytes, of
    the overload."""
    capacity = sum(capacities) / len(capacities)
    before, during, _ = result.phases
    offered = max(1, during.scheduled)
    return Overload(
        name=name,
        capacity_per_second=capacity,
        capacities_per_second=capacities,
        offered_per_second=during.scheduled / during.duration_seconds,
        goodput_per_second=during.goodput_per_second,
        goodput_share=during.goodput_per_second / capacity if capacity else 0.0,
        deadline_seconds=result.spec.deadline_seconds,
        accepted_p50_seconds=during.p50_seconds,
        accepted_p99_seconds=during.p99_seconds,
        rejected_share=during.rejected / offered,
        failed_share=(during.failed + during.unfinished) / offered,
        dropped_share=during.dropped / offered,
        statuses=result.statuses,
        memory_bytes=tuple(memory),
        memory_growth=memory_growth(memory),
        recovery_seconds=recovery_seconds(before, during, result.windows),
        generator_cpu_share=result.generator_cpu_share,
        lag_p99_seconds=during.lag_p99_seconds,
    )


def recovery_seconds(before: Stretch, during: Stretch, windows: Sequence[Stretch]) -> float | None:
    """How long after the overload's end all is as it was before; None: not within the run.

    From that moment on every request is answered 200 within the deadline, and in its window the
    median response is at most twice what it was before the overload.
    """
    end = during.start_seconds + during.duration_seconds
    after = [window for window in windows if window.start_seconds >= end - 1e-6]
    recovered = None
    for window in reversed(after):
        if window.good < window.scheduled:
            break
        if window.p50_seconds is None or before.p50_seconds is None:
            continue
        if window.p50_seconds <= _TIMES_AS_SLOW * before.p50_seconds:
            recovered = max(0.0, window.start_seconds - end)
    return recovered


def memory_growth(samples: Sequence[int]) -> float | None:
    """Median of the last fifth to that of the second fifth, less one.

    The first fifth is left out: there the queues fill.
    """
    fifth = len(samples) // 5
    if len(samples) < _FEWEST_SAMPLES:
        return None
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]
    return float(np.median(late) / np.median(early)) - 1.0


class _Memory:
    """Samples the serving processes' memory once a second of the overload, in a thread."""

    def __init__(self, url: str, client_pid: int, spec: PhasedSpec) -> None:
        snapshot = make_accountant(url, client_pid).snapshot()
        self._watch = MemoryWatch(snapshot) if snapshot else None
        self._before_seconds = spec.phases[0].duration_seconds
        self._seconds = spec.phases[1].duration_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples: list[int] = []

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        if self._watch is None or self._stopped.wait(self._before_seconds):
            return
        # Short overloads are sampled more often, for five samples at least.
        pause = min(1.0, self._seconds / 10)
        for _ in range(int(self._seconds / pause)):
            self.samples.append(self._watch.bytes())
            if self._stopped.wait(pause):
                return
