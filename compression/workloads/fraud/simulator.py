"""Simulated card transactions: the published design, and an extended one with harder frauds.

Published design: Fraud Detection Handbook, chapter 3, "Transaction data simulator". Its run
has 1,754,155 transactions, of which 14,681 fraudulent: 973 by amount, 9,077 by terminal and
4,631 by customer.
"""

from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from compression.errors import DataError
from compression.workloads.fraud.patterns import GENUINE, Journeys, bursts
from compression.workloads.fraud.population import IntArray, Population, times_of_day
from compression.workloads.fraud.purchases import Purchases
from compression.workloads.fraud.transactions import DAY_S, Transactions

HIGH_AMOUNT = 1
COMPROMISED_TERMINAL = 2
COMPROMISED_CUSTOMER = 3

_HIGH_AMOUNT = 220.0
_TERMINALS_A_DAY, _TERMINAL_DAYS = 2, 28
_CUSTOMERS_A_DAY, _CUSTOMER_DAYS = 3, 14
_AMOUNT_FACTOR = 5

BoolMatrix = npt.NDArray[np.bool_]


class SimulatorConfig(BaseModel):
    """What to simulate; the defaults are the published size, with the extended patterns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    customers: int = Field(default=5_000, ge=_CUSTOMERS_A_DAY)
    terminals: int = Field(default=10_000, ge=_TERMINALS_A_DAY)
    days: int = Field(default=183, ge=1)
    radius: float = Field(default=5.0, gt=0)
    start: date = date(2018, 4, 1)
    scenarios: Literal["published", "extended"] = "extended"


def simulate(config: SimulatorConfig) -> Transactions:
    """Transactions of the design; the same config gives the same data.

    Every part draws from its own stream, so the published part is the same in both designs.
    Raises DataError when no customer has a terminal within reach.
    """
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(9)]
    customers, terminals, daily, terminal_fraud, customer_fraud, *patterns = rngs
    population = Population.draw(
        config.customers, config.terminals, config.radius, customers, terminals
    )
    purchases = _published_purchases(population, config.days, daily)
    if not len(purchases):
        raise DataError(
            f"simulator: no transactions: within radius {config.radius} no customer has one of the "
            f"{config.terminals} terminals. Raise simulator key 'radius' or 'terminals'."
        )
    compromised = _compromised_terminals(config, terminal_fraud)
    _label_single_purchases(purchases, compromised)
    _defraud_customers(purchases, config, customer_fraud)
    if config.scenarios == "extended":
        purchases = _with_patterns(purchases, population, compromised, config, patterns)
    return _transactions(purchases, population, config)


def _published_purchases(population: Population, days: int, rng: np.random.Generator) -> Purchases:
    """Each customer's purchases on each day, genuine so far, in order of time."""
    reachable = np.flatnonzero(population.home.counts)
    rate = population.mean_per_day[reachable]
    per_day = rng.poisson(rate, (days, len(reachable)))
    customer = np.repeat(np.tile(reachable, days), per_day.ravel())
    day = np.repeat(np.arange(days), per_day.sum(axis=1))
    second = times_of_day(len(customer), rng)
    inside = (second > 0) & (second < DAY_S)
    customer, time_s = customer[inside], (day * DAY_S + second)[inside]
    return Purchases(
        customer=customer,
        terminal=population.home.draw(customer, rng),
        time_s=time_s,
        amount=population.amounts(customer, rng),
        scenario=np.zeros(len(customer), np.int8),
    ).in_time_order()


def _compromised_terminals(config: SimulatorConfig, rng: np.random.Generator) -> BoolMatrix:
    """bool[terminals, days]: whether a purchase there on that day is fraudulent."""
    compromised = np.zeros((config.terminals, config.days), np.bool_)
    for day in range(config.days):
        drawn = rng.choice(config.terminals, _TERMINALS_A_DAY, replace=False)
        compromised[drawn, day : day + _TERMINAL_DAYS] = True
    return compromised


def _label_single_purchases(purchases: Purchases, compromised: BoolMatrix) -> None:
    """The two rules that look at one purchase, in the published order, on genuine rows."""
    scenario = purchases.scenario
    genuine = scenario == GENUINE
    scenario[genuine & (purchases.amount > _HIGH_AMOUNT)] = HIGH_AMOUNT
    scenario[genuine & compromised[purchases.terminal, purchases.day]] = COMPROMISED_TERMINAL


def _defraud_customers(
    purchases: Purchases, config: SimulatorConfig, rng: np.random.Generator
) -> None:
    """Each day three customers: a third of their purchases over 14 days are the thief's."""
    starts = np.searchsorted(purchases.day, np.arange(config.days + 1))
    for day in range(config.days):
        drawn = rng.choice(config.customers, _CUSTOMERS_A_DAY, replace=False)
        first, last = starts[day], starts[min(day + _CUSTOMER_DAYS, config.days)]
        theirs: IntArray = first + np.flatnonzero(np.isin(purchases.customer[first:last], drawn))
        stolen = rng.choice(theirs, len(theirs) // 3, replace=False) if len(theirs) else theirs
        purchases.amount[stolen] = np.round(purchases.amount[stolen] * _AMOUNT_FACTOR, 2)
        purchases.scenario[stolen] = COMPROMISED_CUSTOMER


def _with_patterns(
    base: Purchases,
    population: Population,
    compromised: BoolMatrix,
    config: SimulatorConfig,
    rngs: list[np.random.Generator],
) -> Purchases:
    """The published purchases and those of the extended patterns; see `patterns` for the order."""
    testing, benign_burst, takeover, travel = rngs
    thefts = Journeys.draw(population, config.radius, config.days, takeover)
    travels = Journeys.draw(population, config.radius, config.days, travel)
    travels.take_along(base, travel)
    everything = Purchases.joined(
        [
            base,
            bursts(population, config.days, testing, fraud=True),
            bursts(population, config.days, benign_burst, fraud=False),
            thefts.purchases(population, takeover, fraud=True),
            travels.purchases(population, travel, fraud=False),
        ]
    )
    # Published rows that stayed where they were are judged again with the same outcome.
    _label_single_purchases(everything, compromised)
    return everything.in_time_order()


def _transactions(
    purchases: Purchases, population: Population, config: SimulatorConfig
) -> Transactions:
    start = np.datetime64(config.start, "s")
    return Transactions(
        transaction_id=np.arange(len(purchases), dtype=np.int64),
        datetime=start + purchases.time_s.astype("timedelta64[s]"),
        customer=purchases.customer.astype(np.int32),
        terminal=purchases.terminal.astype(np.int32),
        amount=purchases.amount,
        time_seconds=purchases.time_s,
        time_days=purchases.day.astype(np.int32),
        fraud=purchases.scenario != GENUINE,
        scenario=purchases.scenario,
        customer_ids=np.arange(config.customers, dtype=np.int64),
        terminal_ids=np.arange(config.terminals, dtype=np.int64),
        customer_xy=population.customer_xy.astype(np.float32),
        terminal_xy=population.terminal_xy.astype(np.float32),
    )
