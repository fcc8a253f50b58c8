from pathlib import Path

import pytest

from loadtest.errors import OptionError
from loadtest.pricing import choose_price, cost_per_million, read_prices
from tests.loadtest.conftest import PRICES


def test_the_worked_number_of_the_docstring() -> None:
    assert cost_per_million(0.10, 200, utilisation=0.6) == pytest.approx(0.2315, abs=5e-5)


def test_twice_the_rate_costs_half_and_two_machines_twice() -> None:
    one = cost_per_million(1.0, 100)
    assert cost_per_million(1.0, 200) == pytest.approx(one / 2)
    assert cost_per_million(1.0, 100, machines=2) == pytest.approx(one * 2)


@pytest.mark.parametrize("bad", [(0, 1, 0.5), (1, 0, 0.5), (1, 1, 0), (1, 1, 1.1)])
def test_nonsense_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        cost_per_million(bad[0], bad[1], utilisation=bad[2])


def test_the_committed_price_file_reads() -> None:
    prices = read_prices(PRICES)
    assert choose_price(prices, None).cores == 2
    with pytest.raises(OptionError, match="general-purpose-2-core"):
        choose_price(prices, "mainframe")


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES.read_text() + "discount: 3\n")
    with pytest.raises(OptionError, match="discount"):
        read_prices(path)
    with pytest.raises(OptionError, match="--prices"):
        read_prices(tmp_path / "missing.yaml")
