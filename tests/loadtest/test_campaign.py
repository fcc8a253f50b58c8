"""The comparison with simulated queues: no network, no waiting."""

from pathlib import Path

import pytest

from loadtest.campaign import Campaign
from loadtest.ledger import Ledger, LoadDocument
from loadtest.measurement import Probe, ProbeSpec
from tests.loadtest import made_up_store
from tests.loadtest.conftest import empty_document, simulate
from tests.loadtest.simulated import (
    OVERHEAD_SECONDS,
    Clock,
    SilentProgress,
    SimulatedAccountant,
    SimulatedSource,
)


class Interrupted(SimulatedSource):
    """Ctrl-C after a number of open-loop runs."""

    left = 30

    def open_loop(self, spec: ProbeSpec) -> Probe:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().open_loop(spec)


def test_rounds_are_interleaved(comparison: Path) -> None:
    document = Ledger(comparison).read()
    assert [cell.variant for cell in document.cells] == list(made_up_store.NAMES) * 2
    assert [cell.round for cell in document.cells] == [0] * 6 + [1] * 6
    assert document.finished_at is not None


def test_the_common_rate_is_one_that_the_slowest_variant_bears(comparison: Path) -> None:
    document = Ledger(comparison).read()
    # 175 a second saturate the original, 40 % of that is 70.
    assert document.common_rate_per_second == pytest.approx(70.0)
    assert all(cell.low.measurement.spec.rate_per_second == 70.0 for cell in document.cells)


def test_limits_are_those_of_the_simulated_queues(comparison: Path) -> None:
    document = Ledger(comparison).read()
    for name in ("original", "original-onnx", "pruned"):
        saturated = 1.0 / (made_up_store.MODEL_SECONDS[name] + OVERHEAD_SECONDS)
        for cell in document.of(name):
            assert cell.search.r_slo_per_second is not None
            assert 0.7 * saturated < cell.search.r_slo_per_second < 1.02 * saturated


@pytest.mark.parametrize("budget", [40.0, 150.0])
def test_the_budget_holds(store: Path, tmp_path: Path, budget: float) -> None:
    _, source = simulate(empty_document(store, budget_seconds=budget), tmp_path)
    assert source.clock.seconds < budget * 1.1


def test_an_interrupted_comparison_resumes_where_it_stopped(store: Path, tmp_path: Path) -> None:
    clock = Clock()
    source = Interrupted(made_up_store.MODEL_SECONDS, clock)
    ledger = Ledger(tmp_path)
    new = empty_document(store)
    with pytest.raises(KeyboardInterrupt):
        _campaign(new, ledger, source, clock).run()
    stopped = ledger.read()
    assert 0 < len(stopped.cells) < 12
    assert stopped.finished_at is None

    again = Ledger(tmp_path)
    resumed, note = again.resume(new)
    assert resumed == stopped
    assert "resuming" in note
    assert len(again.histograms) >= 2 * len(stopped.cells)
    fresh = SimulatedSource(made_up_store.MODEL_SECONDS, Clock())
    finished = _campaign(resumed, again, fresh, fresh.clock).run()
    assert finished.cells[: len(stopped.cells)] == stopped.cells
    assert len(finished.cells) == 12
    low = [entry for entry in again.histograms if entry.kind == "low"]
    assert len({(entry.variant, entry.round) for entry in low}) == len(low)


def _campaign(
    document: LoadDocument, ledger: Ledger, source: SimulatedSource, clock: Clock
) -> Campaign:
    return Campaign(document, ledger, source, SimulatedAccountant(source), SilentProgress(), clock)


def test_another_server_run_is_not_resumed(store: Path, tmp_path: Path) -> None:
    document = empty_document(store)
    Ledger(tmp_path).save(document.model_copy(update={"common_rate_per_second": 5.0}))
    restarted = document.model_copy(
        update={"server": document.server.model_copy(update={"started_at": (2.0,)})}
    )
    resumed, note = Ledger(tmp_path).resume(restarted)
    assert resumed.common_rate_per_second is None
    assert "started anew" in note
    assert (tmp_path / "load.previous.json").exists()


def test_other_settings_are_not_resumed(store: Path, tmp_path: Path) -> None:
    Ledger(tmp_path).save(empty_document(store))
    _, note = Ledger(tmp_path).resume(empty_document(store, seed=4))
    assert "settings" in note
