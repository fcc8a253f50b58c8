"""The generator process against a real HTTP server."""

import os
from pathlib import Path

import pytest

from loadtest.errors import GeneratorError
from loadtest.generator import Generator, Setup
from loadtest.measurement import ClosedSpec, ProbeSpec
from tests.loadtest.conftest import StubServer, get_json


def _setup(url: str, store: Path) -> Setup:
    return Setup(url=url, model="fraud", store=str(store), bodies=64)


def test_one_process_serves_many_probes_over_kept_alive_connections(
    stub_server: StubServer, store: Path
) -> None:
    url = stub_server(workers=8)
    with Generator(_setup(url, store)) as generator:
        assert generator.bodies == 64
        runs = [
            generator.open_loop(
                ProbeSpec(variant="small", rate_per_second=rate, duration_seconds=0.5, seed=1)
            ).measurement
            for rate in (50, 100, 200)
        ]
    assert [run.sent for run in runs] == [25, 50, 100]
    assert all(run.ok == run.sent and run.achieved_ratio > 0.95 for run in runs)
    assert all(run.answered_by == {"small": run.answered_by["small"]} for run in runs)
    # 64 connections are opened ahead, and none beyond: 175 requests went over them.
    assert get_json(f"{url}/stats")["connections"] <= 64 + 2


def test_a_stall_is_seen_from_the_intended_send_only(stub_server: StubServer, store: Path) -> None:
    """Coordinated omission: with few connections the requests behind a stall wait unsent."""
    url = stub_server(workers=8, pause_after=100, pause_seconds=1.0, queue=1000)
    with Generator(_setup(url, store)) as generator:
        run = generator.open_loop(
            ProbeSpec(variant="small", rate_per_second=200, duration_seconds=2.5, seed=3)
        ).measurement
    assert run.ok == 500
    assert run.response.p90_seconds is not None
    # 1 s of 2.5 s: 40 % of the callers waited, a tenth of them more than 0.7 s.
    assert run.response.p90_seconds > 0.6
    assert run.response.p50_seconds is not None
    assert run.response.p50_seconds < run.response.p90_seconds / 2


def test_the_closed_loop_omits_the_same_stall(stub_server: StubServer, store: Path) -> None:
    url = stub_server(workers=8, pause_after=100, pause_seconds=1.0, queue=1000)
    with Generator(_setup(url, store)) as generator:
        result = generator.closed_loop(
            ClosedSpec(variant="small", connections=1, duration_seconds=2.0)
        )
    assert result.ok > 50
    assert result.latency.p90_seconds is not None
    assert result.latency.p90_seconds < 0.5  # of a stall of 1 s


def test_a_full_pool_drops_and_never_delays(stub_server: StubServer, store: Path) -> None:
    url = stub_server(workers=1, service_seconds={"small": 0.5})
    with Generator(_setup(url, store)) as generator:
        run = generator.open_loop(
            ProbeSpec(
                variant="small",
                rate_per_second=100,
                duration_seconds=1.0,
                max_in_flight=4,
                drain_seconds=0.1,
            )
        ).measurement
    assert run.dropped >= 90
    assert run.scheduled == 100
    assert run.elapsed_seconds < 5.0  # 100 requests one after the other would take 50 s
    assert run.unfinished > 0
    assert run.sent + run.dropped == 100


def test_what_is_due_while_the_pool_is_full_is_dropped_together(
    stub_server: StubServer, store: Path
) -> None:
    url = stub_server(workers=1, service_seconds={"small": 0.2})
    with Generator(_setup(url, store)) as generator:
        run = generator.open_loop(
            ProbeSpec(
                variant="small", rate_per_second=20_000, duration_seconds=1.0, max_in_flight=4
            )
        ).measurement
    assert run.scheduled == 20_000
    assert run.sent + run.dropped == 20_000
    assert run.dropped > 19_000
    # One by one they would take what the machine has, and the walk would be late.
    assert run.elapsed_seconds < 5.0


def test_a_hopeless_probe_stops_early(stub_server: StubServer, store: Path) -> None:
    url = stub_server(workers=1, service_seconds={"small": 0.02}, queue=10_000)
    with Generator(_setup(url, store)) as generator:
        run = generator.open_loop(
            ProbeSpec(
                variant="small", rate_per_second=300, duration_seconds=10, stop_over_seconds=0.05
            )
        ).measurement
    assert run.stopped_early
    assert run.elapsed_seconds < 8.0  # of 10 s, and the queue behind them


def test_rejections_and_unknown_variants_are_counted_apart(
    stub_server: StubServer, store: Path
) -> None:
    url = stub_server(workers=1, service_seconds={"small": 0.1}, queue=1)
    with Generator(_setup(url, store)) as generator:
        shed = generator.open_loop(
            ProbeSpec(variant="small", rate_per_second=100, duration_seconds=0.5)
        ).measurement
        unknown = generator.open_loop(
            ProbeSpec(variant="nobody", rate_per_second=100, duration_seconds=0.2)
        ).measurement
    assert shed.rejected > 30
    assert shed.failed == 0
    assert unknown.failed == 20
    assert unknown.statuses == {"404": 20}


@pytest.mark.skipif(not hasattr(os, "SCHED_RR"), reason="real-time scheduling is Linux's")
def test_precedence_is_taken_only_where_it_is_wanted(store: Path) -> None:
    wanted = _setup("http://127.0.0.1:9", store)
    unwanted = wanted.model_copy(update={"precedence": False})
    with Generator(wanted) as first, Generator(unwanted) as second:
        # An unprivileged process is not granted it.
        assert os.sched_getscheduler(first.pid) in (os.SCHED_RR, os.SCHED_OTHER)
        assert os.sched_getscheduler(second.pid) == os.SCHED_OTHER


def test_the_process_stays_on_its_cores(store: Path) -> None:
    anywhere = os.sched_getaffinity(0)
    core = max(anywhere)
    free = _setup("http://127.0.0.1:9", store)
    held = free.model_copy(update={"cores": (core,)})
    with Generator(free) as first, Generator(held) as second:
        assert os.sched_getaffinity(first.pid) == anywhere
        assert os.sched_getaffinity(second.pid) == {core}


def test_errors_come_back_in_words(store: Path) -> None:
    with pytest.raises(GeneratorError, match="no-such-model"):
        Generator(Setup(url="http://127.0.0.1:9", model="no-such-model", store=str(store)))
    with Generator(_setup("http://127.0.0.1:9", store)) as generator:
        with pytest.raises(GeneratorError, match="refused"):
            generator.open_loop(ProbeSpec(rate_per_second=10, duration_seconds=0.1))
        os.kill(generator.pid, 9)
        with pytest.raises(GeneratorError, match="ended"):
            generator.open_loop(ProbeSpec(rate_per_second=10, duration_seconds=0.1))
