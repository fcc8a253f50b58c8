"""Runs probes inside the generator process, one after another, with one set of bodies."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence

import gevent

from loadtest.arrivals import schedule
from loadtest.connection import BROKEN, Connection, Target, request_bytes
from loadtest.dispatcher import Dispatcher, Pace
from loadtest.histogram import LatencyHistogram
from loadtest.measurement import (
    ClosedResult,
    ClosedSpec,
    Histograms,
    Measurement,
    Probe,
    ProbeSpec,
)
from loadtest.payloads import infer_path
from loadtest.phases import PhasedResult, PhasedSpec, PhaseRecorder, phase_times, raise_file_limit
from loadtest.recorder import OK, REJECTED, Recorder

_WARM_CONNECTIONS = 64


class Engine:
    """Sends `bodies` to a model of an Open Inference Protocol server at `url`.

    `path` overrides the model's infer path, for servers that speak another protocol; `headers`
    are added to every request.
    """

    def __init__(
        self,
        url: str,
        model: str,
        bodies: Sequence[bytes],
        path: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._target = Target.from_url(url)
        self._headers = dict(headers or {})
        self._model = model
        self._bodies = bodies
        self._path = path
        self._idle: list[Connection] = []

    def _requests(self, variant: str) -> list[bytes]:
        path = self._path or infer_path(self._model, variant)
        return [request_bytes(self._target, path, body, self._headers) for body in self._bodies]

    def open_loop(self, spec: ProbeSpec) -> Probe:
        """Make one open-loop run. Raises OSError where no connection can be opened at all."""
        times = schedule(spec.arrival, spec.rate_per_second, spec.duration_seconds, spec.seed)
        recorder = Recorder(spec.stop_over_seconds)
        dispatcher = Dispatcher(
            self._target,
            self._requests(spec.variant),
            recorder,
            spec.max_in_flight,
            self._idle,  # opening dozens of connections would show in the next run's tail
        )
        dispatcher.warm(_WARM_CONNECTIONS)
        allowed = len(times) // 100
        stopped = False

        def hopeless() -> bool:
            nonlocal stopped
            if spec.stop_over_seconds is not None:
                over = recorder.over
                if over + dispatcher.in_flight > allowed:
                    over += dispatcher.overdue(spec.stop_over_seconds)
                stopped = over > allowed
            return stopped

        with _QuietCollector():
            cpu = time.process_time()
            pace = dispatcher.walk(times.tolist(), hopeless)
            # An overloaded server is not waited for: the queue it still holds is of no interest.
            dispatcher.drain(0.05 if stopped else spec.drain_seconds)
            cpu = time.process_time() - cpu
        return summarise(spec, recorder, pace, cpu, stopped)

    def phased(self, spec: PhasedSpec) -> PhasedResult:
        """Make one open-loop run whose rate changes. Raises OSError as `open_loop` does."""
        raise_file_limit()
        times = phase_times(spec)
        recorder = PhaseRecorder()
        requests = self._requests(spec.variant)
        dispatcher = Dispatcher(self._target, requests, recorder, spec.max_in_flight)
        # All of them: what is asked too much of the server are requests, not handshakes.
        dispatcher.warm(spec.max_in_flight)
        with _QuietCollector():
            cpu = time.process_time()
            pace = dispatcher.walk(times.tolist(), lambda: False)
            dispatcher.drain(spec.drain_seconds)
            cpu = time.process_time() - cpu
        dispatcher.close()
        return recorder.result(spec, times, cpu / pace.elapsed_seconds)

    def closed_loop(self, spec: ClosedSpec) -> ClosedResult:
        """Saturate the server with a fixed number of connections."""
        requests = self._requests(spec.variant)
        latencies: list[int] = []
        errors = 0
        start = time.monotonic()
        end = start + spec.duration_seconds

        def client(number: int) -> None:
            nonlocal errors
            connection = Connection(self._target)
            turn = number
            while (sent := time.monotonic()) < end:
                try:
                    status = connection.exchange(requests[turn % len(requests)])
                except OSError:
                    status = BROKEN
                    gevent.sleep(0.01)
                if status == OK:
                    latencies.append(int((time.monotonic() - sent) * 1e6))
                else:
                    errors += 1
                turn += spec.connections
            connection.close()

        with _QuietCollector():
            cpu = time.process_time()
            clients = [gevent.spawn(client, number) for number in range(spec.connections)]
            gevent.joinall(clients, timeout=spec.duration_seconds + 2.0)
            gevent.killall(clients)
            elapsed = time.monotonic() - start
            cpu = time.process_time() - cpu
        histogram = LatencyHistogram()
        histogram.record_all(latencies)
        return ClosedResult(
            spec=spec,
            ok=len(latencies),
            errors=errors,
            requests_per_second=len(latencies) / elapsed,
            latency=histogram.quantiles(),
            generator_cpu_share=cpu / elapsed,
        )


class _QuietCollector:
    """No garbage collection while requests are timed: a full pass can take milliseconds."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


def summarise(spec: ProbeSpec, recorder: Recorder, pace: Pace, cpu: float, stopped: bool) -> Probe:
    """The measurement of a run and its histograms; empties the recorder."""
    ok, rejected = recorder.statuses[OK], recorder.statuses[REJECTED]
    # A walk that ends with its last send is shorter than the window it was scheduled in.
    elapsed = pace.elapsed_seconds if stopped else max(spec.duration_seconds, pace.elapsed_seconds)
    histograms = recorder.fold()
    measurement = Measurement(
        spec=spec,
        scheduled=pace.taken,
        elapsed_seconds=elapsed,
        sent=recorder.sent,
        ok=ok,
        rejected=rejected,
        failed=recorder.statuses.total() - ok - rejected,
        unfinished=recorder.n_unfinished,
        dropped=recorder.n_dropped,
        achieved_rate_per_second=recorder.sent / elapsed if elapsed > 0 else 0.0,
        response=histograms["response"].quantiles(),
        service=histograms["service"].quantiles(),
        lag=histograms["lag"].quantiles(),
        statuses={str(status): n for status, n in sorted(recorder.statuses.items())},
        answered_by=dict(recorder.answered_by),
        stopped_early=stopped,
        generator_cpu_seconds=cpu,
        generator_cpu_share=cpu / elapsed if elapsed > 0 else 0.0,
    )
    encoded = {name: histogram.encode() for name, histogram in histograms.items()}
    return Probe(measurement=measurement, histograms=Histograms(**encoded))
