import numpy as np
import pytest

from loadtest.histogram import LatencyHistogram, samples_needed


def test_quantiles_agree_with_numpy() -> None:
    values = np.random.default_rng(0).lognormal(7, 1, 5000).astype(int)
    histogram = LatencyHistogram()
    histogram.record_all(values.tolist())
    for quantile in (0.5, 0.9, 0.99):
        exact = np.quantile(values, quantile) / 1e6
        assert histogram.seconds_at(quantile) == pytest.approx(exact, rel=0.005)


def test_merging_two_processes_equals_recording_in_one() -> None:
    values = np.random.default_rng(1).integers(50, 90_000, 4000).tolist()
    whole, left, right = LatencyHistogram(), LatencyHistogram(), LatencyHistogram()
    whole.record_all(values)
    left.record_all(values[:1500])
    right.record_all(values[1500:])
    left.merge(right.encode())
    assert left.quantiles() == whole.quantiles()
    assert LatencyHistogram.decode(left.encode()).quantiles() == whole.quantiles()


def test_values_out_of_range_are_kept_at_the_ends() -> None:
    histogram = LatencyHistogram()
    histogram.record_all([-5, 0, 10**12])
    assert histogram.count == 3
    assert histogram.seconds_at(0.01) == 1e-6


def test_samples_needed_for_a_percentile() -> None:
    assert samples_needed(0.99) == 459
    assert samples_needed(0.999) == 4603


def test_an_empty_histogram_has_no_quantiles() -> None:
    quantiles = LatencyHistogram().quantiles()
    assert quantiles.p99_seconds is None
    assert not quantiles.p99_sufficient
