"""A division of rows into named segments, in which a model is judged separately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Which segment each row belongs to. The order of names is the order in tables."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]
    """int64[n]: index into names, for each row."""

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Segmentation:
        """By values [n] of a category: a segment for each that occurs, sorted."""
        names, codes = np.unique(values, return_inverse=True)
        return cls(tuple(str(name) for name in names), codes.astype(np.int64))

    @classmethod
    def bands(
        cls, values: npt.NDArray[Any], edges: Sequence[float], names: Sequence[str]
    ) -> Segmentation:
        """By bands of values float[n]: `names[i]` is for values up to and with `edges[i]`.

        The last name is for what lies above; edges rise. ValueError unless there is one name
        more than edges.
        """
        if len(names) != len(edges) + 1 or any(np.diff(edges) <= 0):
            raise ValueError(f"{len(edges)} rising edges need one name more, given {len(names)}")
        return cls(tuple(names), np.searchsorted(edges, values, side="left").astype(np.int64))

    def of_rows(self, rows: npt.NDArray[np.int64]) -> Segmentation:
        """The same segments for rows int64[m], indices into these."""
        return Segmentation(self.names, self.codes[rows])
