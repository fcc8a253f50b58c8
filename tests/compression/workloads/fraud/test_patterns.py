import numpy as np
import numpy.typing as npt
import pytest

from compression.workloads.fraud.patterns import (
    ACCOUNT_TAKEOVER,
    CARD_TESTING,
    Journeys,
    bursts,
)
from compression.workloads.fraud.population import Population
from compression.workloads.fraud.purchases import Purchases

DAYS = 183
RADIUS = 8.0


@pytest.fixture(scope="module")
def population() -> Population:
    return Population.draw(1_500, 2_000, RADIUS, np.random.default_rng(0), np.random.default_rng(1))


def _rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def _events(burst: Purchases) -> list[npt.NDArray[np.int64]]:
    """Rows of each burst: a new one begins with another customer or more than minutes later."""
    new = (np.diff(burst.customer) != 0) | (np.abs(np.diff(burst.time_s)) > 240)
    return np.split(np.arange(len(burst)), np.flatnonzero(new) + 1)


def test_card_testing_ascends_within_minutes(population: Population) -> None:
    testing = bursts(population, DAYS, _rng(), fraud=True)
    assert (testing.scenario == CARD_TESTING).all()
    events = _events(testing)
    assert len(events) == round(833 / 5_000 * 1_500)
    for rows in events:
        assert 4 <= len(rows) <= 8
        assert (np.diff(testing.amount[rows]) >= 0).all()
        assert (np.diff(testing.time_s[rows]) >= 20).all()
        assert np.ptp(testing.time_s[rows]) <= 8 * 240
        assert len(set(testing.day[rows])) == 1


def test_benign_bursts_differ_only_in_the_order_of_amounts(population: Population) -> None:
    testing = bursts(population, DAYS, _rng(), fraud=True)
    benign = bursts(population, DAYS, _rng(), fraud=False)
    assert not benign.scenario.any()
    for column in ("customer", "terminal", "time_s"):
        np.testing.assert_array_equal(getattr(testing, column), getattr(benign, column))
    ascending = 0
    for rows in _events(benign):
        assert sorted(benign.amount[rows]) == testing.amount[rows].tolist()
        ascending += bool((np.diff(benign.amount[rows]) >= 0).all())
    assert ascending < 0.05 * len(_events(benign))


@pytest.mark.parametrize("fraud", [True, False])
def test_bursts_happen_at_the_usual_terminals(population: Population, fraud: bool) -> None:
    burst = bursts(population, DAYS, _rng(), fraud=fraud)
    assert _from_home(population, burst).max() < RADIUS
    assert burst.amount.max() <= 200
    assert 0 <= burst.day.min() <= burst.day.max() < DAYS


def test_journeys_are_distant_and_last_days(population: Population) -> None:
    journeys = Journeys.draw(population, RADIUS, DAYS, _rng())
    assert set(journeys.days) == {3, 4, 5, 6, 7}
    assert (journeys.first_day + journeys.days <= DAYS).all()
    takeover = journeys.purchases(population, _rng(), fraud=True)
    assert (takeover.scenario == ACCOUNT_TAKEOVER).all()
    assert _from_home(population, takeover).min() > 30 - RADIUS
    sizes = np.diff(np.flatnonzero(np.diff(takeover.customer, prepend=-1, append=-1)))
    assert np.median(sizes) == 7
    assert 0 <= takeover.day.min() <= takeover.day.max() < DAYS


def test_takeover_amounts_are_the_customers_own(population: Population) -> None:
    journeys = Journeys.draw(population, RADIUS, DAYS, _rng())
    takeover = journeys.purchases(population, _rng(), fraud=True)
    assert np.mean(takeover.amount / population.mean_amount[takeover.customer]) == pytest.approx(
        1.03, abs=0.05
    )


def test_travellers_take_their_genuine_purchases_along(population: Population) -> None:
    journeys = Journeys.draw(population, RADIUS, DAYS, _rng())
    rng = _rng(8)
    customer = np.repeat(np.flatnonzero(population.home.counts), 100)
    own = Purchases(
        customer=customer,
        terminal=population.home.draw(customer, rng),
        time_s=rng.integers(0, DAYS * 86_400, len(customer)),
        amount=population.amounts(customer, rng),
        scenario=(rng.random(len(customer)) < 0.1).astype(np.int8),
    )
    before = own.terminal.copy()
    moved = journeys.take_along(own, rng)
    away = np.zeros(len(own), np.bool_)
    for c, first, days in zip(journeys.customer, journeys.first_day, journeys.days, strict=True):
        away |= (own.customer == c) & (own.day >= first) & (own.day < first + days)
    away &= own.scenario == 0
    np.testing.assert_array_equal(moved, np.flatnonzero(away))
    np.testing.assert_array_equal(own.terminal[~away], before[~away])
    assert _from_home(population, own)[away].min() > 30 - RADIUS


def _from_home(population: Population, purchases: Purchases) -> npt.NDArray[np.float64]:
    """float64[n]: distance of each purchase from its customer's home."""
    offset = population.terminal_xy[purchases.terminal] - population.customer_xy[purchases.customer]
    distance: npt.NDArray[np.float64] = np.hypot(offset[:, 0], offset[:, 1])
    return distance
