"""Assignment: hash(salt, experiment, key) → [0, 1) → cumulative weights.

The order of the weights is canonical: challengers by name, the champion last. A challenger that
grows takes callers from what lies to its right, which ends with the champion, and keeps all those
it had: growing B from 5 to 10 % leaves B's first 5 % in B, whatever order the table was written in.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from typing import NamedTuple

import mmh3

from serve_app.routing.table import RoutingTable

_UNIT = 2.0**-53


def unit_hash(prefix: bytes, key: str) -> float:
    """A number in [0, 1), the same for the same prefix and key on every machine."""
    high, _ = mmh3.hash64(prefix + key.encode("utf-8", "surrogatepass"), 0, True, signed=False)
    return float(high >> 11) * _UNIT


class Assigned(NamedTuple):
    """A variant, and why it was chosen: `weight` (by key) or `random` (there was none)."""

    variant: str
    why: str


class Assignment:
    """A routing table made ready for use; `champion` is the variant that comes last in order."""

    def __init__(self, table: RoutingTable, champion: str) -> None:
        self.table = table
        order = sorted(
            (name for name, weight in table.weights.items() if weight > 0),
            key=lambda name: (name == champion, name),
        )
        bounds: list[float] = []
        total = 0.0
        for name in order:
            total += table.weights[name]
            bounds.append(total)
        self._order = order
        self._bounds = bounds[:-1]
        self._prefix = f"{table.salt}\0{table.experiment}\0".encode()
        self._shadow_prefix = f"shadow\0{table.salt}\0{table.experiment}\0".encode()
        self._shadow_rate = table.shadow.sample_rate if table.shadow else 0.0
        self.shadow_variant = table.shadow.variant if table.shadow else None

    def assign(self, key: str | None) -> Assigned:
        """The variant for a caller's routing key, or a random one by weight without a key."""
        if key is None:
            return Assigned(self._order[bisect_right(self._bounds, random.random())], "random")
        place = unit_hash(self._prefix, key)
        return Assigned(self._order[bisect_right(self._bounds, place)], "weight")

    def shadowed(self, key: str | None) -> bool:
        """Whether the request is in the shadow's sample: sticky by key, with a hash of its own."""
        if self._shadow_rate <= 0.0:
            return False
        place = random.random() if key is None else unit_hash(self._shadow_prefix, key)
        return place < self._shadow_rate
