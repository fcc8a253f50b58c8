"""Two fraud patterns beside the published ones, each with a benign look-alike.

The published frauds can be told from totals and averages. These can not: a model must look at
the order of amounts (card testing) or at the order of places (account takeover).

- **Card testing**: a burst of 4–8 purchases within minutes at the customer's usual terminals,
  amounts ascending. Its twin is a burst with the same distribution of everything, the amounts in
  the order in which they were drawn. All purchases of a fraudulent burst are labelled, the first
  too: the thief made it and it is charged back, although nobody could have told. So no model
  reaches an average precision of 1.
- **Account takeover**: 4–10 purchases around one distant place over 3–7 days, amounts from the
  customer's own distribution, while the owner goes on buying at home. Its twin is a journey with
  the same purchases, on which the owner's own purchases of those days are away, too.

Order: the patterns come after the published purchases and after the published fraud rules. So
every published row keeps customer, time and amount whatever is added; only the terminal of a
traveller's genuine purchases changes. The published rules that look at one purchase (amount,
compromised terminal) then judge the added and moved rows that are still genuine, so that these
rules hold in the whole data.
"""

from dataclasses import dataclass

import numpy as np

from compression.workloads.fraud.population import (
    FloatArray,
    IntArray,
    Population,
    Reach,
    reach,
    times_of_day,
)
from compression.workloads.fraud.purchases import Purchases
from compression.workloads.fraud.transactions import DAY_S

CARD_TESTING = 4
ACCOUNT_TAKEOVER = 5
GENUINE = 0

# Events a customer a day. With 5,000 customers and 183 days: 833 bursts of 6 purchases and 714
# takeovers of 7 on average, so about 5,000 fraudulent purchases of each kind.
_BURSTS = 833 / (5_000 * 183)
_JOURNEYS = 714 / (5_000 * 183)

_BURST_SIZE = (4, 8)
_BURST_GAP_S = (20, 240)
_BURST_AMOUNT = (1.0, 200.0)
_JOURNEY_SIZE = (4, 10)
_JOURNEY_DAYS = (3, 7)
_DISTANT = 30.0


def bursts(
    population: Population, days: int, rng: np.random.Generator, *, fraud: bool
) -> Purchases:
    """Bursts within minutes: with fraud the amounts ascend, else their order is random."""
    customers = _victims(population, _BURSTS * days, rng)
    sizes = rng.integers(_BURST_SIZE[0], _BURST_SIZE[1] + 1, len(customers))
    event = np.repeat(np.arange(len(customers)), sizes)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    gaps = rng.integers(_BURST_GAP_S[0], _BURST_GAP_S[1] + 1, len(event))
    elapsed = np.cumsum(gaps)
    latest = DAY_S - 1 - _BURST_SIZE[1] * _BURST_GAP_S[1]
    start = np.clip(times_of_day(len(customers), rng), 1, latest)
    start += DAY_S * rng.integers(0, days, len(customers))
    low, high = np.log(_BURST_AMOUNT)
    amount = np.exp(rng.uniform(low, high, len(event))).round(2)
    if fraud:
        amount = amount[np.lexsort((amount, event))]
    return Purchases(
        customer=customers[event],
        terminal=population.home.draw(customers[event], rng),
        time_s=start[event] + elapsed - elapsed[first],
        amount=amount,
        scenario=np.full(len(event), CARD_TESTING if fraud else GENUINE, np.int8),
    )


@dataclass(frozen=True, eq=False)
class Journeys:
    """m stays around a distant place: of the card alone (takeover) or of its owner (travel)."""

    customer: IntArray
    """int64[m]"""
    first_day: IntArray
    """int64[m]"""
    days: IntArray
    """int64[m], 3–7"""
    place: Reach
    """the terminals around each stay's place"""

    @classmethod
    def draw(
        cls, population: Population, radius: float, days: int, rng: np.random.Generator
    ) -> "Journeys":
        """Who, when and where; a place is around a terminal at least 30 from home."""
        customers = _victims(population, _JOURNEYS * days, rng)
        length = rng.integers(_JOURNEY_DAYS[0], _JOURNEY_DAYS[1] + 1, len(customers))
        length = np.minimum(length, days)
        centre = _distant_terminals(population, customers, rng)
        return cls(
            customer=customers,
            first_day=rng.integers(0, days - length + 1),
            days=length,
            place=reach(population.terminal_xy[centre], population.terminal_xy, radius),
        )

    def purchases(
        self, population: Population, rng: np.random.Generator, *, fraud: bool
    ) -> Purchases:
        """4–10 purchases on each journey, at any of its days and around its place."""
        sizes = rng.integers(_JOURNEY_SIZE[0], _JOURNEY_SIZE[1] + 1, len(self.customer))
        event = np.repeat(np.arange(len(sizes)), sizes)
        day = self.first_day[event] + rng.integers(0, self.days[event])
        second = np.clip(times_of_day(len(event), rng), 1, DAY_S - 1)
        return Purchases(
            customer=self.customer[event],
            terminal=self.place.draw(event, rng),
            time_s=day * DAY_S + second,
            amount=population.amounts(self.customer[event], rng),
            scenario=np.full(len(event), ACCOUNT_TAKEOVER if fraud else GENUINE, np.int8),
        )

    def take_along(self, own: Purchases, rng: np.random.Generator) -> IntArray:
        """Move, in place, the travellers' genuine purchases to their journey; give their rows.

        Fraudulent ones stay: the thief does not travel with the owner, and the published label
        may belong to the terminal.
        """
        span = int(own.time_s.max(initial=0)) + 8 * DAY_S
        order = np.lexsort((own.time_s, own.customer))
        key = (own.customer * span + own.time_s)[order]
        start = self.customer * span + self.first_day * DAY_S
        low = np.searchsorted(key, start)
        sizes = np.searchsorted(key, start + self.days * DAY_S) - low
        event = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(event)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = order[low[event] + within]
        genuine = own.scenario[rows] == GENUINE
        rows, event = rows[genuine], event[genuine]
        own.terminal[rows] = self.place.draw(event, rng)
        return np.unique(rows)


def _victims(population: Population, per_customer: float, rng: np.random.Generator) -> IntArray:
    """Customers of the events, the more often the more they buy: a used card is a seen card."""
    weight = np.where(population.home.counts > 0, population.mean_per_day, 0.0)
    size = round(per_customer * len(weight))
    return rng.choice(len(weight), size, p=weight / weight.sum())


def _distant_terminals(
    population: Population, customers: IntArray, rng: np.random.Generator
) -> IntArray:
    """A terminal far from each customer's home; where there are next to none, any terminal."""
    home: FloatArray = population.customer_xy[customers]
    chosen = rng.integers(0, len(population.terminal_xy), len(customers))
    for _ in range(50):
        offset = population.terminal_xy[chosen] - home
        near = np.hypot(offset[:, 0], offset[:, 1]) < _DISTANT
        if not near.any():
            break
        chosen[near] = rng.integers(0, len(population.terminal_xy), int(near.sum()))
    return chosen
