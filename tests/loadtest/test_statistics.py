import numpy as np

from loadtest.statistics import median, paired_ratio


def test_median_passes_over_what_is_missing() -> None:
    assert median([3.0, None, 1.0]) == 2.0
    assert median([None]) is None


def test_too_few_rounds_have_a_ratio_without_an_interval() -> None:
    ratio = paired_ratio([1.0, 2.0], [2.0, 4.0])
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (0.5, None, None)
    assert paired_ratio([None], [1.0]) is None


def test_the_interval_covers_the_truth() -> None:
    """Of 200 comparisons with a true ratio of 0.5, at least 85 % of the intervals hold it.

    A percentile bootstrap over 8 rounds is known to be a little narrow.
    """
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        disturbed = rng.lognormal(0, 0.3, 8)
        original = disturbed * rng.lognormal(0, 0.1, 8)
        variant = 0.5 * disturbed * rng.lognormal(0, 0.1, 8)
        ratio = paired_ratio(variant.tolist(), original.tolist(), seed=trial, draws=400)
        assert ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        held += ratio.low <= 0.5 <= ratio.high
    assert held / 200 > 0.85


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 9.0], [2.0, 2.0, 5.0, 4.0, 1.0]
    assert paired_ratio(*values, seed=1) == paired_ratio(*values, seed=1)
    assert paired_ratio([1.0], [0.0]) is None
