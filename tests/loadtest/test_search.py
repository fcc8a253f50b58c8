import pytest

from loadtest.measurement import Measurement, ProbeSpec
from loadtest.search import SearchSettings, failure, search
from loadtest.validity import Limits
from tests.loadtest.simulated import OVERHEAD_SECONDS, SimulatedSource

LIMITS = Limits()


def _source(service_seconds: float, **faults: float) -> SimulatedSource:
    source = SimulatedSource({"m": service_seconds - OVERHEAD_SECONDS})
    source.lag_seconds = faults.get("lag_seconds", 1e-4)
    return source


def _search(source: SimulatedSource, start: float, **options: float) -> tuple[float | None, str]:
    seed = 0

    def probe(rate: float) -> Measurement:
        nonlocal seed
        seed += 1
        spec = ProbeSpec(
            variant="m",
            rate_per_second=rate,
            duration_seconds=60,
            seed=seed,
            stop_over_seconds=0.05,
        )
        return source.open_loop(spec).measurement

    settings = SearchSettings.model_validate(
        {"start_rate_per_second": start, "probes": 16, **options}
    )
    found = search(probe, settings, LIMITS)
    return found.r_slo_per_second, found.limited_by


@pytest.mark.parametrize("start", [20.0, 150.0, 2000.0])
def test_it_finds_the_limit_of_a_queue_from_below_and_above(start: float) -> None:
    """M/D/1 with 5 ms of service: p99 reaches 50 ms at a load near 0.8 (Crommelin's formula)."""
    r_slo, limited_by = _search(_source(0.005), start)
    assert r_slo is not None
    assert 0.72 * 200 < r_slo < 0.92 * 200
    assert limited_by == "slo"


def test_no_rate_holds_when_a_lone_request_is_too_slow() -> None:
    r_slo, limited_by = _search(_source(0.08), 10.0, probes=6)
    assert r_slo is None
    assert limited_by == "slo"


def test_a_late_generator_is_named_as_the_limit() -> None:
    source = _source(0.0007)

    def probe(rate: float) -> Measurement:
        # The generator falls behind beyond 1,000 a second; the server would not.
        source.lag_seconds = 0.2 if rate > 1000 else 1e-4
        spec = ProbeSpec(variant="m", rate_per_second=rate, duration_seconds=2)
        return source.open_loop(spec).measurement

    found = search(probe, SearchSettings(start_rate_per_second=300), LIMITS)
    assert found.limited_by == "generator"
    assert found.r_slo_per_second is not None
    assert 800 < found.r_slo_per_second <= 1000


def test_the_ceiling_and_the_last_probe_are_told_apart_from_a_limit() -> None:
    assert _search(_source(0.0007), 100.0, max_rate_per_second=400.0) == (400.0, "ceiling")
    assert _search(_source(0.0007), 100.0, probes=2, growth=2.0) == (200.0, "probes")


def test_one_stall_is_forgiven_and_a_second_is_not() -> None:
    source = _source(0.001)
    stalls = iter([True, False, True, True, *[False] * 50])

    def probe(rate: float) -> Measurement:
        source.lag_seconds = 1e-4
        source.service_seconds["m"] = 0.2 if next(stalls) else 0.001
        spec = ProbeSpec(variant="m", rate_per_second=rate, duration_seconds=5)
        return source.open_loop(spec).measurement

    found = search(probe, SearchSettings(start_rate_per_second=100, probes=4, growth=2), LIMITS)
    assert found.r_slo_per_second == 100
    assert found.failed_at_per_second == 200


def test_time_that_is_up_ends_the_search_after_one_probe() -> None:
    source = _source(0.001)
    spec = ProbeSpec(variant="m", rate_per_second=50, duration_seconds=5)
    measurement = source.open_loop(spec).measurement
    found = search(
        lambda _: measurement, SearchSettings(start_rate_per_second=50), LIMITS, lambda: False
    )
    assert len(found.probes) == 1


def test_too_many_rejections_fail_a_rate() -> None:
    source = _source(0.001)
    spec = ProbeSpec(variant="m", rate_per_second=100, duration_seconds=10)
    run = source.open_loop(spec).measurement
    assert failure(run, LIMITS) is None
    assert failure(run.model_copy(update={"rejected": 1}), LIMITS) is None
    assert failure(run.model_copy(update={"rejected": 2}), LIMITS) == "errors"
    assert failure(run.model_copy(update={"answered_by": {"other": 3}}), LIMITS) == "errors"
