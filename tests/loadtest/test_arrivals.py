from itertools import islice

import numpy as np
import pytest

from loadtest.arrivals import endless, schedule
from loadtest.errors import OptionError


@pytest.mark.parametrize("arrival", ["poisson", "constant"])
def test_a_schedule_is_the_same_for_the_same_seed(arrival: str) -> None:
    first, again = schedule(arrival, 200, 3, seed=5), schedule(arrival, 200, 3, seed=5)
    assert np.array_equal(first, again)
    assert len(first) == 600
    assert np.all(np.diff(first) >= 0)
    assert 0 <= first[0] <= first[-1] < 3


def test_another_seed_gives_another_schedule() -> None:
    assert not np.array_equal(schedule("poisson", 200, 3, 1), schedule("poisson", 200, 3, 2))


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(schedule("poisson", 1000, 50, seed=0))
    # An exponential's standard deviation equals its mean, and 1/e of it lies beyond the mean.
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1), abs=0.01)


def test_an_endless_schedule_keeps_a_rate_below_one_a_window() -> None:
    times = list(islice(endless("poisson", 0.05, seed=3, window_seconds=5.0), 10))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(200, abs=20)


def test_an_endless_schedule_is_reproducible() -> None:
    assert list(islice(endless("poisson", 50, 9), 500)) == list(
        islice(endless("poisson", 50, 9), 500)
    )


@pytest.mark.parametrize(
    ("arrival", "rate", "duration"), [("burst", 1, 1), ("poisson", 0, 1), ("poisson", 1, -1)]
)
def test_nonsense_is_refused(arrival: str, rate: float, duration: float) -> None:
    with pytest.raises(OptionError):
        schedule(arrival, rate, duration, 0)
