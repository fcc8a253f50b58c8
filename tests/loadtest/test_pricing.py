import re
from pathlib import Path

import pytest

from loadtest.errors import OptionError
from loadtest.pricing import PriceFile, choose_pricing, cost_per_million, read_prices
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
    assert choose_pricing(prices).of("any").cores == 2


def test_a_variant_may_have_a_machine_of_its_own() -> None:
    pricing = choose_pricing(read_prices(PRICES), ["original=one-gpu-16-core"])
    assert pricing.of("original").name == "one-gpu-16-core"
    assert pricing.of("int8").name == "general-purpose-2-core"
    used = pricing.used(["original", "int8", "pruned"])
    assert [(price.name, names) for price, names in used] == [
        ("one-gpu-16-core", ("original",)),
        ("general-purpose-2-core", ("int8", "pruned")),
    ]
    for_all = choose_pricing(read_prices(PRICES), ["one-gpu-16-core"])
    assert for_all.of("int8").name == "one-gpu-16-core"


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (["mainframe"], "mainframe: not in the price file, which has general-purpose-2-core, one"),
        (["original="], "original=: not in the price file"),
        (["original=yen", "original=yen"], "the price of variant 'original' is given twice"),
        (["yen", "yen"], "the price of all variants is given twice"),
        (["original=yen"], "original=yen: expected USD like general-purpose-2-core"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(chosen: list[str], words: str) -> None:
    prices = read_prices(PRICES)
    yen = prices.prices[0].model_copy(update={"name": "yen", "currency": "JPY"})
    with pytest.raises(OptionError, match=re.escape(words)):
        choose_pricing(
            PriceFile(schema_version=1, utilisation=0.5, prices=(*prices.prices, yen)), chosen
        )


def test_a_price_is_of_a_variant_that_is_there() -> None:
    pricing = choose_pricing(read_prices(PRICES), ["orignal=one-gpu-16-core"])
    with pytest.raises(OptionError, match=r"orignal=one-gpu-16-core: no variant .* original, int8"):
        pricing.check_variants(["original", "int8"])


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES.read_text() + "discount: 3\n")
    with pytest.raises(OptionError, match="discount"):
        read_prices(path)
    with pytest.raises(OptionError, match="--prices"):
        read_prices(tmp_path / "missing.yaml")
