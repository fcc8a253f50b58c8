from collections.abc import Mapping

import pytest

from loadtest.measurement import Measurement, ProbeSpec
from loadtest.validity import Limits, faults
from tests.loadtest.simulated import SimulatedSource

LIMITS = Limits(slo_seconds=0.05)


def _run(seconds: float = 10.0) -> Measurement:
    spec = ProbeSpec(variant="m", rate_per_second=100, duration_seconds=seconds)
    return SimulatedSource({"m": 0.001}).open_loop(spec).measurement


def test_a_good_run_has_no_faults() -> None:
    assert faults(_run(), LIMITS) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"achieved_rate_per_second": 97.0}, "achieved 97.0% of the scheduled rate"),
        ({"generator_cpu_share": 0.95}, "95% of a core"),
        ({"dropped": 3}, "3 requests were dropped"),
        ({"unfinished": 2}, "2 requests had no answer"),
        ({"failed": 9, "statuses": {"200": 991, "0": 4, "500": 5}}, "4 × broken connection"),
        ({"rejected": 20}, "20 of 1000 requests were shed"),
        ({"answered_by": {"m": 5, "original": 2}}, "other variants answered: original (2)"),
    ],
)
def test_every_fault_is_said_in_words(changes: Mapping[str, object], words: str) -> None:
    (said,) = faults(_run().model_copy(update=changes), LIMITS)
    assert words in said


def test_a_late_generator_and_too_few_samples() -> None:
    source = SimulatedSource({"m": 0.001})
    source.lag_seconds = 0.003
    spec = ProbeSpec(variant="m", rate_per_second=100, duration_seconds=4)
    said = " ".join(faults(source.open_loop(spec).measurement, LIMITS))
    assert "dispatch-lag p99 is 3.00 ms, over 5% of the SLO (2.50 ms)" in said
    assert "400 samples are too few for a p99 (459 are needed)" in said
