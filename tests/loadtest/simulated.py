"""A generator without a network: requests meet a simulated queue with a fixed service time."""

from __future__ import annotations

from loadtest.arrivals import schedule
from loadtest.dispatcher import Pace
from loadtest.engine import summarise
from loadtest.histogram import LatencyHistogram
from loadtest.measurement import ClosedResult, ClosedSpec, Probe, ProbeSpec
from loadtest.processes import Role, Snapshot
from loadtest.recorder import Recorder

OVERHEAD_SECONDS = 0.0006
"""What HTTP and routing cost a request beside the model, in the same one worker."""


class Clock:
    """Time that passes only when a simulated run says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class SimulatedSource:
    """M/D/1: Poisson arrivals, one worker, `service_seconds` by variant."""

    def __init__(self, service_seconds: dict[str, float], clock: Clock | None = None) -> None:
        self.service_seconds = service_seconds
        self.clock = clock or Clock()
        self.lag_seconds = 0.0001
        self.cpu_seconds = 0.0
        self.calls: list[tuple[str, str]] = []

    def open_loop(self, spec: ProbeSpec) -> Probe:
        """Walk the schedule through the queue."""
        self.calls.append(("open", spec.variant))
        service = self.service_seconds[spec.variant] + OVERHEAD_SECONDS
        times = schedule(spec.arrival, spec.rate_per_second, spec.duration_seconds, spec.seed)
        recorder = Recorder(spec.stop_over_seconds)
        free, taken, stopped = 0.0, 0, False
        for offset in times.tolist():
            free = max(free, offset) + service
            started = offset + self.lag_seconds
            answer = f'{{"parameters":{{"variant":"{spec.variant}"}}}}'.encode()
            ended = max(free, started + service)
            recorder.answered(offset, started, ended, 200, answer)
            taken += 1
            if spec.stop_over_seconds and recorder.over > len(times) // 100:
                stopped = True
                break
        elapsed = offset if stopped else spec.duration_seconds
        self.clock.seconds += elapsed
        self.cpu_seconds += taken * service
        return summarise(spec, recorder, Pace(taken, elapsed), 5e-5 * taken, stopped)

    def closed_loop(self, spec: ClosedSpec) -> ClosedResult:
        """Every connection has one request waiting."""
        self.calls.append(("closed", spec.variant))
        each = self.service_seconds[spec.variant] + OVERHEAD_SECONDS
        count = max(1, int(spec.duration_seconds / each))
        histogram = LatencyHistogram()
        histogram.record_all([int(each * spec.connections * 1e6)] * count)
        self.clock.seconds += spec.duration_seconds
        return ClosedResult(
            spec=spec,
            ok=count,
            errors=0,
            requests_per_second=1.0 / each,
            latency=histogram.quantiles(),
            generator_cpu_share=0.1,
        )


class SimulatedAccountant:
    """Reads the simulated CPU time; the proxy takes a third on top."""

    def __init__(self, source: SimulatedSource) -> None:
        self._source = source

    def snapshot(self) -> Snapshot | None:
        spent = self._source.cpu_seconds
        roles: dict[str, Role] = {"1@0": "replica", "2@0": "proxy", "3@0": "client"}
        return Snapshot(
            roles=roles,
            cpu_seconds={"1@0": spent, "2@0": spent / 3, "3@0": 1.0},
            memory_bytes={"1@0": 210_000_000, "2@0": 38_000_000, "3@0": 90_000_000},
        )


class SilentProgress:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def update(self, doing: str, done_seconds: float, left_seconds: float) -> None:
        assert left_seconds >= 0.0
        self.steps.append(doing)
