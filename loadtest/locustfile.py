"""Locust users for a served model.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000

Closed loop by default: each user sends its next request when the last one is answered. With
`--open-loop-rate` requests leave on a schedule instead, one dispatcher per worker process and
whatever the number of users, and a request is timed from the moment it was meant to leave.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadtest.arrivals import endless
from loadtest.connection import Target, request_bytes
from loadtest.dispatcher import Dispatcher
from loadtest.format import seconds
from loadtest.locust_options import LocustOptions, add_options
from loadtest.payloads import bodies, infer_path
from loadtest.recorder import OK, Recorder
from loadtest.store import Store
from loadtest.tally import REPORT_KEY, Tally
from loadtest.validity import Limits

_LOG = logging.getLogger("slimserve")
_JSON = {"Content-Type": "application/json"}
_SHARE_MESSAGE = "slimserve_share"
_COLLECT_MESSAGE = "slimserve_collect"
_REPORT_MESSAGE = "slimserve_report"
_REPORT_SECONDS = 10.0


class Firing(Recorder):
    """Records, and fires locust's request event so that its tables and charts work as well."""

    def __init__(self, event: Any, name: str) -> None:
        super().__init__()
        self._event = event
        self._name = name

    def answered(
        self, intended: float, started: float, ended: float, status: int, body: bytes
    ) -> None:
        super().answered(intended, started, ended, status, body)
        problem = None if status == OK else _problem(status)
        self._fire((ended - intended) * 1e3, len(body), problem)

    def dropped(self, count: int) -> None:
        super().dropped(count)
        for _ in range(count):
            self._fire(0.0, 0, RuntimeError("dropped: the pool was full"))

    def _fire(self, milliseconds: float, length: int, problem: Exception | None) -> None:
        self._event.fire(
            request_type="POST",
            name=self._name,
            response_time=milliseconds,
            response_length=length,
            exception=problem,
            context={},
        )


def _problem(status: int) -> Exception:
    return RuntimeError(f"status {status}" if status else "broken connection")


class State:
    """What one process of the run holds."""

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.options = LocustOptions.of(environment.parsed_options)
        self.path = infer_path(self.options.model, self.options.variant)
        self.tally = Tally()
        self.recorder: Recorder = Recorder()
        self.share = 1.0
        self.running = False
        self.dispatcher: gevent.Greenlet | None = None
        self.reported: set[str] = set()
        self._bodies: Sequence[bytes] = ()

    @property
    def bodies(self) -> Sequence[bytes]:
        """Request bodies, read from the store at the first use."""
        if not self._bodies:
            store = Store(self.options.store, self.options.model)
            self._bodies = bodies(
                store.model, store.samples(), rows=self.options.rows, seed=self.options.seed
            )
        return self._bodies

    @property
    def limits(self) -> Limits:
        return Limits(slo_seconds=self.options.slo_seconds)

    def start(self) -> None:
        """A test starts: in the open loop, so does this process's dispatcher."""
        self.options = LocustOptions.of(self.environment.parsed_options)
        self.path = infer_path(self.options.model, self.options.variant)
        self.tally, self.running = Tally(), True
        self.reported = set()
        runner = self.environment.runner
        if isinstance(runner, MasterRunner):
            workers = max(1, runner.worker_count)
            runner.send_message(_SHARE_MESSAGE, {"share": 1.0 / workers})
        elif self.options.open_loop_rate > 0:
            self.recorder = Firing(self.environment.events.request, self.path)
            self.dispatcher = gevent.spawn(self._dispatch)

    def _dispatch(self) -> None:
        if isinstance(self.environment.runner, WorkerRunner):
            gevent.sleep(0.5)  # the master's word on how many share the rate comes after the start
        target = Target.from_url(self.environment.host or "http://127.0.0.1:8000")
        requests = [request_bytes(target, self.path, body) for body in self.bodies]
        pool = Dispatcher(target, requests, self.recorder, self.options.max_in_flight)
        pool.walk(self._times(), lambda: not self.running)
        pool.drain(2.0)
        pool.close()

    def _times(self) -> Iterator[float]:
        worker = max(0, getattr(self.environment.runner, "worker_index", 0))
        rate = self.options.open_loop_rate * self.share
        _LOG.info("open loop: %.1f requests per second from this process", rate)
        return endless(self.options.arrival, rate, self.options.seed + 7919 * worker)

    def stop(self) -> None:
        """The test stops: let the dispatcher drain before the last report is made."""
        self.running = False
        if self.dispatcher is not None:
            self.dispatcher.join(timeout=5.0)

    def await_workers(self) -> None:
        """Master: ask every worker to drain, and wait for its last report.

        Locust itself waits half a second for final reports, which a busy worker can miss.
        """
        runner = self.environment.runner
        if not isinstance(runner, MasterRunner):
            return
        runner.send_message(_COLLECT_MESSAGE)
        with gevent.Timeout(_REPORT_SECONDS, False):
            while len(self.reported) < runner.worker_count:
                gevent.sleep(0.02)

    def collect(self) -> Tally:
        """Everything known in this process, its own requests among them."""
        self.tally.add(Tally.take(self.recorder))
        return self.tally


_state: State | None = None


def _current() -> State:
    if _state is None:
        raise RuntimeError("locust has not been initialised")
    return _state


class ModelUser(FastHttpUser):
    """Closed loop: sends prepared bodies as fast as they are answered.

    In the open loop users have nothing to do; the dispatcher sends.
    """

    def on_start(self) -> None:
        self._turn = id(self) % 997  # users start at different rows

    @task
    def infer(self) -> None:
        state = _current()
        if state.options.open_loop_rate > 0:
            gevent.sleep(0.5)
            return
        self._turn += 1
        body = state.bodies[self._turn % len(state.bodies)]
        client: Any = self.client  # its annotation leaves out bytes, which it sends as they are
        client.post(state.path, data=body, headers=_JSON, name=state.path)


def _parser(parser: Any, **_: Any) -> None:
    add_options(parser)


def _init(environment: Any, **_: Any) -> None:
    global _state
    _state = state = State(environment)
    if isinstance(environment.runner, WorkerRunner):
        _register_worker(state, environment.runner)
    elif isinstance(environment.runner, MasterRunner):
        _register_master(state, environment.runner)
    else:
        state.bodies  # noqa: B018  read the store now: a wrong --store should not start a test


def _register_worker(state: State, runner: Any) -> None:
    def share(environment: Any, msg: Any, **_: Any) -> None:
        state.share = float(msg.data["share"])

    def collect(environment: Any, msg: Any, **_: Any) -> None:
        state.stop()
        runner.send_message(_REPORT_MESSAGE, Tally.take(state.recorder))

    runner.register_message(_SHARE_MESSAGE, share)
    runner.register_message(_COLLECT_MESSAGE, collect, concurrent=True)


def _register_master(state: State, runner: Any) -> None:
    def report(environment: Any, msg: Any, **_: Any) -> None:
        state.tally.add(msg.data)
        state.reported.add(msg.node_id)

    runner.register_message(_REPORT_MESSAGE, report)


def _request(response_time: float, exception: Exception | None, response: Any = None,
             **_: Any) -> None:  # fmt: skip
    """Closed loop only: locust's own clock, which starts at the real send."""
    state = _current()
    if state.options.open_loop_rate > 0:
        return
    taken = response_time / 1e3
    status = getattr(response, "status_code", 0) or 0
    ok = OK if exception is None else status
    state.recorder.answered(0.0, 0.0, taken, ok, getattr(response, "content", b"") or b"")


def _test_start(**_: Any) -> None:
    _current().start()


def _test_stopping(**_: Any) -> None:
    _current().stop()
    _current().await_workers()


def _report(client_id: str, data: dict[str, Any], **_: Any) -> None:
    data[REPORT_KEY] = Tally.take(_current().recorder)


def _worker_report(client_id: str, data: dict[str, Any], **_: Any) -> None:
    if REPORT_KEY in data:
        _current().tally.add(data[REPORT_KEY])


def _quitting(environment: Any, **_: Any) -> None:
    state = _current()
    if isinstance(environment.runner, WorkerRunner):
        return
    tally = state.collect()
    open_loop = state.options.open_loop_rate > 0
    for name, histogram in tally.histograms.items():
        if not open_loop and name != "response":
            continue
        figures = histogram.quantiles()
        _LOG.info(
            "%-8s p50 %s  p90 %s  p99 %s  p99.9 %s  (%d samples)", name,
            seconds(figures.p50_seconds), seconds(figures.p90_seconds),
            seconds(figures.p99_seconds), seconds(figures.p999_seconds), figures.count,
        )  # fmt: skip
    _LOG.info("requests %s", json.dumps(tally.counts))
    if state.options.histograms:
        Path(state.options.histograms).write_text(json.dumps(tally.document(), indent=1))
    reasons = tally.faults(state.limits, open_loop)
    if reasons:
        _LOG.error("this run is not valid: %s", "; ".join(reasons))
        environment.process_exit_code = 6


# Not as decorators: locust's are untyped and would take the listeners' types away.
_hooks: Any = events
_hooks.init_command_line_parser.add_listener(_parser)
_hooks.init.add_listener(_init)
_hooks.request.add_listener(_request)
_hooks.test_start.add_listener(_test_start)
_hooks.test_stopping.add_listener(_test_stopping)
_hooks.report_to_master.add_listener(_report)
_hooks.worker_report.add_listener(_worker_report)
_hooks.quitting.add_listener(_quitting)
