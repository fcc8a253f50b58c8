import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from compression.errors import DataError
from compression.workloads.fraud.simulator import SimulatorConfig, simulate
from compression.workloads.fraud.transactions import Transactions

SMALL = SimulatorConfig(seed=1, customers=300, terminals=600, radius=20.0, days=60)


@pytest.fixture(scope="module")
def published() -> Transactions:
    return simulate(SimulatorConfig(scenarios="published"))


def test_published_counts(published: Transactions) -> None:
    # The published run is one draw: 1,754,155; 14,681; 973 / 9,077 / 4,631. The customers'
    # mean purchases a day alone make the total vary by 0.8 % (one standard deviation).
    assert len(published) == pytest.approx(1_754_155, rel=0.025)
    assert published.fraud.sum() == pytest.approx(14_681, rel=0.06)
    counts = np.bincount(published.scenario, minlength=4)[1:]
    assert counts[0] == pytest.approx(973, rel=0.2)
    assert counts[1] == pytest.approx(9_077, rel=0.08)
    assert counts[2] == pytest.approx(4_631, rel=0.08)


def test_published_rules_hold(published: Transactions) -> None:
    assert published.scenario[published.amount > 220].all()
    assert (published.amount[published.scenario == 1] > 220).all()
    offset = published.terminal_xy[published.terminal] - published.customer_xy[published.customer]
    assert np.hypot(offset[:, 0], offset[:, 1]).max() < 5.0001
    day_s = published.time_seconds % 86_400
    assert day_s.min() > 0


def test_compromised_terminals_are_fraudulent_for_28_days(published: Transactions) -> None:
    frauds = published.scenario == 2
    spans = []
    for terminal in np.unique(published.terminal[frauds])[:100]:
        there = published.terminal == terminal
        days = published.time_days[there & frauds]
        spans.append(int(np.ptp(days)) + 1)
        between = (published.time_days >= days.min()) & (published.time_days <= days.max())
        if spans[-1] <= 28:  # else it was drawn twice
            assert published.fraud[there & between].all()
    assert np.mean(np.array(spans) <= 28) > 0.9
    assert np.median(spans) > 24


def test_extended_frauds_are_as_many_as_meant() -> None:
    counts = np.bincount(simulate(SimulatorConfig()).scenario, minlength=6)
    assert 4_000 < counts[4] < 6_000
    assert 4_000 < counts[5] < 6_000


def test_a_seed_fixes_the_data() -> None:
    assert simulate(SMALL).data_hash() == simulate(SMALL).data_hash()
    other = simulate(SMALL.model_copy(update={"seed": 2}))
    assert other.data_hash() != simulate(SMALL).data_hash()


def test_extended_leaves_the_published_part_alone() -> None:
    base = simulate(SMALL.model_copy(update={"scenarios": "published"}))
    extended = simulate(SMALL)
    np.testing.assert_array_equal(base.customer_xy, extended.customer_xy)
    np.testing.assert_array_equal(base.terminal_xy, extended.terminal_xy)
    rows = dict(zip(_who_when_what(extended), range(len(extended)), strict=True))
    found = np.array([rows[key] for key in _who_when_what(base)])
    moved = extended.terminal[found] != base.terminal
    assert 0 < moved.mean() < 0.05
    assert not base.fraud[moved].any()
    np.testing.assert_array_equal(extended.scenario[found[~moved]], base.scenario[~moved])
    # A traveller may meet a compromised terminal, by the published rule.
    assert set(extended.scenario[found[moved]]) <= {0, 2}


def test_out_of_reach_is_an_error_that_names_the_keys() -> None:
    with pytest.raises(DataError, match="'radius' or 'terminals'"):
        simulate(SimulatorConfig(customers=5, terminals=2, radius=1e-6))


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="raduis"):
        SimulatorConfig.model_validate({"raduis": 3})


def _who_when_what(tx: Transactions) -> list[tuple[int, int, float]]:
    columns: list[npt.NDArray[np.generic]] = [tx.customer, tx.time_seconds, tx.amount]
    return list(zip(*(c.tolist() for c in columns), strict=True))
