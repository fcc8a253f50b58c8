"""Runs whose rate changes: every request is counted where it was meant to leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest.generator import Generator, Setup
from loadtest.phases import Phase, PhasedSpec, PhaseRecorder, phase_times
from tests.loadtest.conftest import StubServer


def _spec(*phases: tuple[float, float], deadline_seconds: float = 1.0) -> PhasedSpec:
    return PhasedSpec(
        phases=tuple(
            Phase(name=f"{n}", rate_per_second=rate, duration_seconds=seconds)
            for n, (rate, seconds) in enumerate(phases)
        ),
        window_seconds=0.5,
        deadline_seconds=deadline_seconds,
    )


def test_phases_follow_one_another_without_a_pause() -> None:
    times = phase_times(_spec((10, 2.0), (100, 1.0), (10, 2.0)))
    assert (np.diff(times) >= 0).all()
    assert [int(((a <= times) & (times < b)).sum()) for a, b in ((0, 2), (2, 3), (3, 5))] == [
        20, 100, 20,
    ]  # fmt: skip


def test_requests_are_counted_where_they_were_meant_to_leave() -> None:
    spec = _spec((2, 1.0), (4, 1.0), deadline_seconds=0.5)
    recorder = PhaseRecorder()
    start = 1000.0
    times = np.array([0.0, 0.6, 1.1, 1.2, 1.6, 1.7])
    # The second is answered when the second phase has long begun, and still is the first's.
    recorder.answered(start, start, start + 0.1, 200, b"")
    recorder.answered(start + 0.6, start + 0.61, start + 2.6, 200, b"")
    recorder.answered(start + 1.1, start + 1.1, start + 1.11, 429, b"")
    recorder.answered(start + 1.2, start + 1.2, start + 1.21, 503, b"")
    recorder.answered(start + 1.6, start + 1.6, start + 1.65, 200, b"")
    recorder.unfinished(start + 1.7, start + 1.7, start + 3.0)

    result = recorder.result(spec, times, 0.3)

    first, second = result.phases
    assert (first.scheduled, first.good, first.late) == (2, 1, 1)
    assert (second.scheduled, second.good, second.rejected, second.failed) == (4, 1, 1, 1)
    assert second.unfinished == 1
    assert second.goodput_per_second == 1.0
    assert [window.scheduled for window in result.windows] == [1, 1, 2, 2]
    assert result.windows[1].p50_seconds == pytest.approx(2.0)
    assert result.windows[2].p50_seconds is None
    assert result.statuses == {"200": 3, "429": 1, "503": 1}
    assert result.generator_cpu_share == 0.3


def test_a_server_that_sheds_is_seen_shedding_and_recovering(
    stub_server: StubServer, tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"inputs": [{"name": "features", "shape": [1, 4]}]}')
    url = stub_server(workers=1, queue=4, service_seconds={"small": 0.01})
    setup = Setup(url=url, body_file=str(body), path="/v2/models/fraud/versions/small/infer")
    spec = _spec((20, 1.0), (400, 1.0), (20, 1.0))
    with Generator(setup) as generator:
        result = generator.phased(spec)
    light, heavy, after = result.phases
    assert light.scheduled == after.scheduled == 20
    assert heavy.scheduled == 400
    assert heavy.rejected > heavy.good > 20
    assert after.rejected < 10 < after.good
    assert result.statuses == {
        "200": light.good + heavy.good + after.good,
        "429": light.rejected + heavy.rejected + after.rejected,
    }
