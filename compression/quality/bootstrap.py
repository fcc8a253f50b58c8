"""Intervals from a bootstrap that is paired by customer.

A customer's rows hang together, so customers are drawn, with replacement, not rows (Field &
Welsh 2007). All models are weighed by the same draws: what makes a test set easy is in both
sides of a ratio and cancels, so that a ratio's interval is far narrower than its parts'.

With a weighted sample the draws multiply the rows' weights. Customers without a sampled row are
not drawn; with thousands of customers this does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.quality.metrics import Integers
from compression.quality.ranking import Curve, Labels, Ranking, Scores, Weights
from compression.store.manifest import Estimate

RANK_METRICS = ("average_precision", "auc", "recall_at_fpr_1pct")
INTERVAL = (2.5, 97.5)
"""Percentiles of a 95 % interval."""


@dataclass(frozen=True)
class Replicates:
    """Rank metrics of one model, in the order of RANK_METRICS."""

    values: npt.NDArray[np.float64]
    """float64[3]: on the rows as they are."""
    draws: npt.NDArray[np.float64]
    """float64[replicates, 3]: on each draw of customers; NaN where a draw has no positive."""

    def estimates(self) -> dict[str, Estimate]:
        """Metrics by name with their 95 % intervals."""
        return _estimates(self.values, self.draws)

    def ratios_to(self, other: Replicates) -> dict[str, Estimate]:
        """This model's metrics divided by the other's, draw by draw; undefined ones left out."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _estimates(self.values / other.values, self.draws / other.draws)


@dataclass(frozen=True)
class PairedIntervals:
    """Metrics of one model and their ratios to the reference, by names of RANK_METRICS."""

    metrics: dict[str, Estimate]
    ratios: dict[str, Estimate]


def paired_intervals(
    labels: Labels,
    scores_by_model: Mapping[str, Scores],
    reference: str,
    customer: Integers,
    weights: Weights | None = None,
    *,
    replicates: int = 500,
    seed: int = 0,
) -> dict[str, PairedIntervals]:
    """Metrics and ratios to `reference` with 95 % percentile intervals, by model.

    Arguments as for `replicate`; the reference's own ratios are all 1.
    """
    drawn = replicate(labels, scores_by_model, customer, weights, replicates=replicates, seed=seed)
    return {
        model: PairedIntervals(own.estimates(), own.ratios_to(drawn[reference]))
        for model, own in drawn.items()
    }


def replicate(
    labels: Labels,
    scores_by_model: Mapping[str, Scores],
    customer: Integers,
    weights: Weights | None = None,
    *,
    replicates: int = 500,
    seed: int = 0,
) -> dict[str, Replicates]:
    """Rank metrics of each model on the same `replicates` draws of customers.

    labels bool[n], scores float[n] by model, customer int[n], weights float64[n] or None.
    """
    names, member = np.unique(customer, return_inverse=True)
    rankings = {name: Ranking.of(labels, scores) for name, scores in scores_by_model.items()}
    draws = {name: np.empty((replicates, len(RANK_METRICS))) for name in rankings}
    generator = np.random.default_rng(seed)
    for i in range(replicates):
        drawn = generator.integers(0, len(names), len(names))
        times = np.bincount(drawn, minlength=len(names)).astype(np.float64)
        rows = times[member] if weights is None else times[member] * weights
        for name, ranking in rankings.items():
            draws[name][i] = _measure(ranking.curve(rows))
    return {
        name: Replicates(np.array(_measure(ranking.curve(weights))), draws[name])
        for name, ranking in rankings.items()
    }


def _measure(curve: Curve) -> tuple[float, float, float]:
    return curve.average_precision(), curve.auc(), curve.recall_at_fpr(0.01)


def _estimates(
    values: npt.NDArray[np.float64], draws: npt.NDArray[np.float64]
) -> dict[str, Estimate]:
    """Estimates of the columns, leaving out those whose value is not finite."""
    estimates = {}
    for i, name in enumerate(RANK_METRICS):
        finite = draws[np.isfinite(draws[:, i]), i]
        low, high = np.percentile(finite, INTERVAL).tolist() if len(finite) else (None, None)
        if np.isfinite(values[i]):
            estimates[name] = Estimate(value=float(values[i]), low=low, high=high)
    return estimates
