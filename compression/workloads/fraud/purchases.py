"""Purchases under construction: the simulator's columns before they become Transactions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from compression.workloads.fraud.population import FloatArray, IntArray
from compression.workloads.fraud.transactions import DAY_S


@dataclass(frozen=True, eq=False)
class Purchases:
    """n purchases in any order. The arrays may be written to while the simulator owns them."""

    customer: IntArray
    """int64[n], codes"""
    terminal: IntArray
    """int64[n], codes"""
    time_s: IntArray
    """int64[n], seconds since the start"""
    amount: FloatArray
    """float64[n]"""
    scenario: npt.NDArray[np.int8]
    """int8[n], 0 = genuine, else the fraud pattern"""

    def __len__(self) -> int:
        return len(self.amount)

    @property
    def day(self) -> IntArray:
        """int64[n], whole days since the start."""
        return self.time_s // DAY_S

    def in_time_order(self) -> "Purchases":
        """The same rows by time; equal times keep their order, so that a seed fixes all."""
        order = np.argsort(self.time_s, kind="stable")
        return Purchases(*(getattr(self, f.name)[order] for f in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Purchases"]) -> "Purchases":
        """All parts one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))
