"""The simulated customers and terminals: where they are, and how a customer buys."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.workloads.fraud.transactions import DAY_S

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

SQUARE_SIDE = 100.0
_NOON_S = DAY_S // 2
_TIME_SPREAD_S = 20_000
_DISTANCES_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Reach:
    """For each of m places the terminals within reach, as one list after the other."""

    starts: IntArray
    """int64[m + 1]: place i reaches `members[starts[i]:starts[i + 1]]`"""
    members: IntArray
    """int64[sum of reaches]: terminal codes"""

    @property
    def counts(self) -> IntArray:
        """int64[m]: how many terminals each place reaches."""
        counts: IntArray = self.starts[1:] - self.starts[:-1]
        return counts

    def draw(self, places: IntArray, rng: np.random.Generator) -> IntArray:
        """One terminal for each of places int[k], uniformly; each must reach at least one."""
        nth = (rng.random(len(places)) * self.counts[places]).astype(np.int64)
        terminals: IntArray = self.members[self.starts[places] + nth]
        return terminals


def reach(places: FloatArray, terminals: FloatArray, radius: float) -> Reach:
    """Terminals float64[t, 2] nearer than radius to each of places float64[m, 2]."""
    step = max(1, _DISTANCES_AT_ONCE // max(1, len(terminals)))
    counts, members = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, len(places), step):
        x, y = (places[first : first + step, None, :] - terminals[None]).transpose(2, 0, 1)
        place, terminal = np.nonzero(x * x + y * y < radius * radius)
        counts.append(np.bincount(place, minlength=len(x)))
        members.append(terminal)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return Reach(starts.astype(np.int64), np.concatenate(members))


@dataclass(frozen=True, eq=False)
class Population:
    """c customers and t terminals on a square of side 100, uniformly placed."""

    customer_xy: FloatArray
    """float64[c, 2]"""
    terminal_xy: FloatArray
    """float64[t, 2]"""
    mean_amount: FloatArray
    """float64[c], U(5, 100); the standard deviation of an amount is half of it"""
    mean_per_day: FloatArray
    """float64[c], U(0, 4): purchases a day"""
    home: Reach
    """the terminals each customer uses"""

    @classmethod
    def draw(
        cls,
        customers: int,
        terminals: int,
        radius: float,
        customer_rng: np.random.Generator,
        terminal_rng: np.random.Generator,
    ) -> "Population":
        """Customers and terminals have a stream each, so that one's number can change alone."""
        customer_xy = customer_rng.uniform(0, SQUARE_SIDE, (customers, 2))
        terminal_xy = terminal_rng.uniform(0, SQUARE_SIDE, (terminals, 2))
        return cls(
            customer_xy=customer_xy,
            terminal_xy=terminal_xy,
            mean_amount=customer_rng.uniform(5, 100, customers),
            mean_per_day=customer_rng.uniform(0, 4, customers),
            home=reach(customer_xy, terminal_xy, radius),
        )

    def amounts(self, customers: IntArray, rng: np.random.Generator) -> FloatArray:
        """An amount for each of customers int[k], from the customer's own distribution."""
        mean = self.mean_amount[customers]
        amount = rng.normal(mean, mean / 2)
        again = rng.uniform(0, 2 * mean)
        drawn: FloatArray = np.where(amount < 0, again, amount)
        return drawn.round(2)


def times_of_day(size: int, rng: np.random.Generator) -> IntArray:
    """int64[size] whole seconds around noon; some lie outside the day, (0, 86,400)."""
    # Towards zero, as an int() of the drawn time does.
    return np.trunc(rng.normal(_NOON_S, _TIME_SPREAD_S, size)).astype(np.int64)
