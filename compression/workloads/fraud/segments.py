"""Bands of transactions in which a variant is also judged: amount, terminal risk, history."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from compression.quality.segmentation import Segmentation

AMOUNT_QUANTILES = (0.25, 0.5, 0.75, 0.95)
RISK_EDGES = (0.0, 0.02, 0.1)
RISK_NAMES = ("no known fraud", "up to 2 %", "2 to 10 %", "over 10 %")
HISTORY_EDGES = (7, 31, 127, 511)
HISTORY_NAMES = ("up to 7", "8 to 31", "32 to 127", "128 to 511", "512 or more")


def amount_edges(amounts: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles of amounts [n] to two significant digits: bands fit any currency and still read."""
    quantiles = np.quantile(amounts, AMOUNT_QUANTILES)
    return tuple(sorted({float(f"{value:.1e}") for value in quantiles}))


def fraud_segments(
    amounts: npt.NDArray[np.float64],
    edges: tuple[float, ...],
    risks: npt.NDArray[np.float32],
    earlier: npt.NDArray[np.int64],
) -> Mapping[str, Segmentation]:
    """Segments of m transactions, by readable names.

    amounts float64[m] and the `edges` of their bands; risks float32[m], the share of known frauds
    at the terminal over 30 days; earlier int64[m], how many transactions of the customer came
    before.
    """
    names = (
        f"up to {edges[0]:,g}",
        *(f"{low:,g} to {high:,g}" for low, high in pairwise(edges)),
        f"over {edges[-1]:,g}",
    )
    return {
        "amount": Segmentation.bands(amounts, edges, names),
        "terminal risk": Segmentation.bands(risks, RISK_EDGES, RISK_NAMES),
        "earlier transactions": Segmentation.bands(earlier, HISTORY_EDGES, HISTORY_NAMES),
    }
