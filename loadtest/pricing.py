"""What a million predictions cost at the rate that holds the SLO.

Prices are an input with a date (`deploy/prices.yaml`), never part of the code. Variants may have
machines of their own, each with its price.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from loadtest.documents import Document
from loadtest.errors import OptionError


class Price(Document):
    """Rent of one machine."""

    name: str
    price_per_hour: PositiveFloat
    currency: str
    cores: PositiveInt
    date: datetime.date
    """When the price was looked up."""
    source: str
    """Where it comes from, in words."""


class PriceFile(Document):
    """`deploy/prices.yaml`: the first price is used where no other is named."""

    schema_version: Literal[1]
    utilisation: float = Field(gt=0.0, le=1.0)
    """Share of the capacity that is planned to be used, averaged over the day."""
    prices: tuple[Price, ...] = Field(min_length=1)


def cost_per_million(
    price_per_hour: float, r_slo_per_second: float, *, machines: int = 1, utilisation: float = 0.6
) -> float:
    """Cost of a million predictions, in the price's currency.

    `1e6 · price_per_hour · machines / (3600 · R_slo · utilisation)`. Worked: a machine of 0.10 an
    hour that holds the SLO up to 200 predictions a second and is planned to 60 % makes
    3600 · 200 · 0.6 = 432,000 predictions an hour, so a million takes 2.315 hours and costs 0.2315.

    Args:
        price_per_hour: rent of one machine.
        r_slo_per_second: predictions a second, of all machines together, that hold the SLO.
        machines: how many machines made that rate.
        utilisation: planned share of it, in (0, 1].

    Raises:
        ValueError: an argument is out of range.
    """
    if price_per_hour <= 0 or r_slo_per_second <= 0 or machines < 1 or not 0 < utilisation <= 1:
        raise ValueError("price, rate and machines must be positive, utilisation in (0, 1]")
    return 1e6 * price_per_hour * machines / (3600.0 * r_slo_per_second * utilisation)


def read_prices(path: Path) -> PriceFile:
    """Read a price file.

    Raises:
        OptionError: it is missing, or not a price file; the message names the key.
    """
    try:
        return PriceFile.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise OptionError(f"--prices {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise OptionError(f"--prices {path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionError(f"--prices {path}: {where}: {first['msg']}") from error


class Pricing(Document):
    """Which machine each variant is paid for."""

    price: Price
    """Of the variants that are not in `own`."""
    own: Mapping[str, Price] = Field(default_factory=dict)
    utilisation: float

    @property
    def currency(self) -> str:
        """That of all prices."""
        return self.price.currency

    def of(self, variant: str) -> Price:
        """What the variant's machine costs."""
        return self.own.get(variant, self.price)

    def used(self, variants: Sequence[str]) -> tuple[tuple[Price, tuple[str, ...]], ...]:
        """Prices with the variants they are of, in the variants' order."""
        found: dict[str, list[str]] = {}
        for variant in variants:
            found.setdefault(self.of(variant).name, []).append(variant)
        return tuple((self.of(names[0]), tuple(names)) for names in found.values())

    def check_variants(self, known: Collection[str]) -> None:
        """Raises OptionError: a price is named for what is no variant."""
        for name in self.own:
            if name not in known:
                raise OptionError(
                    f"--price {name}={self.own[name].name}: no variant of that name, expected one "
                    f"of {', '.join(known)}"
                )


def choose_pricing(prices: PriceFile, chosen: Sequence[str] = ()) -> Pricing:
    """The prices to use; the file's first where none is chosen.

    Args:
        prices: what there is to choose from.
        chosen: names of prices, each of all variants, or of one: `VARIANT=NAME`.

    Raises:
        OptionError: a name is unknown, a choice is made twice, or currencies differ.
    """
    by_name = {price.name: price for price in prices.prices}
    choices: dict[str, Price] = {}
    for choice in chosen:
        variant, _, name = choice.rpartition("=")
        if name not in by_name:
            raise OptionError(
                f"--price {choice}: not in the price file, which has {', '.join(by_name)}"
            )
        if variant in choices:
            whose = f"variant {variant!r}" if variant else "all variants"
            raise OptionError(f"--price {choice}: the price of {whose} is given twice")
        choices[variant] = by_name[name]
    price = choices.pop("", prices.prices[0])
    for variant, own in choices.items():
        if own.currency != price.currency:
            raise OptionError(
                f"--price {variant}={own.name}: expected {price.currency} like {price.name}, to be "
                f"compared, given {own.currency}"
            )
    return Pricing(price=price, own=choices, utilisation=prices.utilisation)
