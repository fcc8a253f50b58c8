import numpy as np

from compression.workloads.fraud.population import Population, reach, times_of_day


def test_reach_is_every_terminal_nearer_than_the_radius() -> None:
    rng = np.random.default_rng(0)
    places, terminals = rng.uniform(0, 100, (40, 2)), rng.uniform(0, 100, (90, 2))
    found = reach(places, terminals, 15.0)
    for i, place in enumerate(places):
        expected = [t for t, xy in enumerate(terminals) if np.hypot(*(xy - place)) < 15.0]
        assert found.members[found.starts[i] : found.starts[i + 1]].tolist() == expected
        assert found.counts[i] == len(expected)


def test_reach_draws_each_terminal_equally_often() -> None:
    terminals = np.array([[0.0, 0.0], [1.0, 0.0], [90.0, 0.0]])
    found = reach(np.array([[0.0, 0.0], [90.0, 0.0]]), terminals, 5.0)
    rng = np.random.default_rng(0)
    drawn = found.draw(np.array([0] * 10_000 + [1]), rng)
    assert drawn[-1] == 2
    assert abs(np.bincount(drawn[:-1])[0] - 5_000) < 200


def test_amounts_follow_the_customer() -> None:
    rng = np.random.default_rng(0)
    population = Population.draw(10, 10, 5.0, rng, rng)
    amounts = population.amounts(np.repeat(np.arange(10), 20_000), rng).reshape(10, -1)
    assert (amounts >= 0).all()
    # Redrawing the 2.3 % negative ones lifts the mean by about 3 %.
    np.testing.assert_allclose(amounts.mean(axis=1) / population.mean_amount, 1.03, atol=0.02)
    assert (amounts == amounts.round(2)).all()


def test_times_of_day_lie_around_noon() -> None:
    times = times_of_day(100_000, np.random.default_rng(0))
    assert abs(times.mean() - 43_200) < 300
    assert abs(times.std() - 20_000) < 300
