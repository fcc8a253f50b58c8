"""Metrics of a scorer of rare events: pure functions over labels, scores and row weights.

labels are bool[n], scores float[n] (higher is more suspicious), weights float64[n] of at least 0
or None (each row counts once). A weight is one over a row's probability of being sampled, see
`compression.quality.sampling`. All metrics are shares between 0 and 1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.quality.ranking import Labels, Ranking, Scores, Weights

ECE_BINS = 15
Integers = npt.NDArray[np.integer[Any]]


def average_precision(labels: Labels, scores: Scores, weights: Weights | None = None) -> float:
    """As `sklearn.metrics.average_precision_score`, ties included; NaN without positives."""
    return Ranking.of(labels, scores).curve(weights).average_precision()


def auc(labels: Labels, scores: Scores, weights: Weights | None = None) -> float:
    """Area under the ROC curve, ties count half; NaN where a class is absent."""
    return Ranking.of(labels, scores).curve(weights).auc()


def recall_at_fpr(
    labels: Labels, scores: Scores, weights: Weights | None = None, fpr: float = 0.01
) -> float:
    """Highest recall of a threshold with a false-positive rate of at most `fpr`.

    Thresholds are scores that occur; there is no interpolation. NaN where a class is absent.
    """
    return Ranking.of(labels, scores).curve(weights).recall_at_fpr(fpr)


def expected_calibration_error(
    labels: Labels, scores: Scores, weights: Weights | None = None, bins: int = ECE_BINS
) -> float:
    """Mean distance between predicted and observed frequency over bins of equal mass.

    Scores are probabilities. Rows of equal score share a bin, so the order of rows does not
    matter. Equal mass, because bins of equal width hold nearly all rows of a rare event in one
    (Nguyen & O'Connor 2015; Roelofs et al. 2022). NaN where all weights are 0.
    """
    mass = np.ones(len(labels)) if weights is None else weights
    total = float(mass.sum())
    if total <= 0:
        return float("nan")
    values, group = np.unique(scores, return_inverse=True)
    group_mass = np.bincount(group, mass, len(values))
    middle = (np.cumsum(group_mass) - group_mass / 2) / total
    which = np.minimum((middle * bins).astype(np.int64), bins - 1)
    observed = np.bincount(group, mass * labels, len(values))
    excess = np.bincount(which, observed - group_mass * values.astype(np.float64), bins)
    return float(np.abs(excess).sum() / total)


def card_precision(
    labels: Labels,
    scores: Scores,
    customer: Integers,
    day: Integers,
    k: int = 100,
    weights: Weights | None = None,
    *,
    remove_detected: bool = False,
) -> float | None:
    """CP@k of the Fraud Detection Handbook: what k investigations a day are worth.

    A day's customers are ranked by their highest score of the day; the share of the first k that
    had a fraud on that day is averaged over days. A day with fewer than k customers is still
    divided by k, as published. Customers of equal score come in the order of their numbers.

    customer and day are int[n]. `remove_detected` leaves a customer out on the days after a
    fraud of theirs was among the first k; the published figures do so over their one week of
    test. It needs every row of a day: None with weights, since a sample has no top k, and None
    without rows.
    """
    if weights is not None or not len(labels):
        return None
    days, customers, highest, defrauded = _customer_days(labels, scores, customer, day)
    found: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    precisions = []
    for start, stop in _runs(days):
        today = np.arange(start, stop)
        if remove_detected:
            today = today[~np.isin(customers[today], found)]
        first = today[np.argsort(-highest[today], kind="stable")[:k]]
        hits = first[defrauded[first]]
        found = np.concatenate((found, customers[hits]))
        precisions.append(len(hits) / k)
    return float(np.mean(precisions))


def distinct_scores(scores: Scores) -> int:
    """Number of different values in scores[n]: a coarse model cannot be cut at every rate."""
    return len(np.unique(scores))


def _customer_days(
    labels: Labels, scores: Scores, customer: Integers, day: Integers
) -> tuple[Integers, Integers, Scores, Labels]:
    """By day, then customer: day, customer, highest score and whether there was a fraud."""
    order = np.lexsort((customer, day))
    customers, days = customer[order], day[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(customers) != 0) | (np.diff(days) != 0)
    starts = np.flatnonzero(new)
    highest = np.maximum.reduceat(scores[order], starts)
    defrauded = np.logical_or.reduceat(labels[order], starts)
    return days[starts], customers[starts], highest, defrauded


def _runs(days: Integers) -> list[tuple[int, int]]:
    """Start and stop of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    return list(pairwise(edges))
