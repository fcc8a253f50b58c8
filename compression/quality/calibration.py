"""From logits to probabilities, and from probabilities to decisions.

A decision is `score >= threshold`. Thresholds here are scores that occur, so they are exact in
the scores' own precision.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compression.quality.ranking import Labels, Ranking, Scores, Weights

MINIMUM_SLOPE = 1e-3
"""Of Platt scaling: a slope of 0 or less would undo or reverse the order of scores."""
NEWTON_STEPS = 50
TOLERANCE = 1e-10

Floats = npt.NDArray[np.float64]


def fit_platt(
    labels: Labels, logits: Scores, weights: Weights | None = None
) -> tuple[float, float]:
    """(slope, intercept) such that sigmoid(slope · logit + intercept) is calibrated; slope > 0.

    Weighted maximum likelihood by Newton steps with halving, on Platt's smoothed targets, which
    keep it finite when the classes are separable (Platt 1999; Lin, Lin & Weng 2007). labels
    bool[n], logits float[n], weights float64[n] or None. ValueError unless both classes have
    weight and all logits are finite.
    """
    mass = np.ones(len(labels)) if weights is None else weights
    x = logits.astype(np.float64)
    positives, negatives = float(mass[labels].sum()), float(mass[~labels].sum())
    if positives <= 0 or negatives <= 0 or not np.isfinite(x).all():
        raise ValueError("Platt scaling needs finite logits, positives and negatives")
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    center = float(np.average(x, weights=mass))
    spread = float(np.sqrt(np.average((x - center) ** 2, weights=mass))) or 1.0
    design = np.stack(((x - center) / spread, np.ones(len(x))), axis=1)
    prior = float(np.log(positives / negatives))
    slope, intercept = _newton(design, targets, mass, np.array([0.0, prior]), free=2)
    if slope < MINIMUM_SLOPE * spread:
        # The likelihood is concave: where its peak is out of bounds, the best is on the bound.
        start = np.array([MINIMUM_SLOPE * spread, prior])
        slope, intercept = _newton(design, targets, mass, start, free=1)
    return slope / spread, intercept - slope * center / spread


def _newton(
    design: Floats, targets: Floats, mass: Floats, start: Floats, free: int
) -> tuple[float, float]:
    """Minimise the log loss over the last `free` of (slope, intercept); the others stay."""
    parameters = start
    loss = _log_loss(design @ parameters, targets, mass)
    moving = slice(2 - free, 2)
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ parameters, -500, 500)))
        gradient = design[:, moving].T @ (mass * (p - targets))
        curvature = mass * p * (1 - p)
        hessian = (design[:, moving].T * curvature) @ design[:, moving]
        # In the direction of a constant logit the loss is flat: a touch of ridge lets it rest.
        hessian += 1e-12 * mass.sum() * np.eye(free)
        step = np.zeros(2)
        step[moving] = np.linalg.solve(hessian, gradient)
        trial, trial_loss = _halve(design, targets, mass, parameters, step, loss)
        gained, loss, parameters = loss - trial_loss, trial_loss, trial
        if gained <= TOLERANCE * loss:
            break
    return float(parameters[0]), float(parameters[1])


def _halve(
    design: Floats, targets: Floats, mass: Floats, at: Floats, step: Floats, loss: float
) -> tuple[Floats, float]:
    """The longest of step, step/2, step/4 … that does not lose; none at all after 30."""
    for _ in range(30):
        trial_loss = _log_loss(design @ (at - step), targets, mass)
        if trial_loss <= loss:
            return at - step, trial_loss
        step = step / 2
    return at, loss


def _log_loss(logits: Floats, targets: Floats, mass: Floats) -> float:
    return float(mass @ (np.logaddexp(0, logits) - targets * logits))


def alert_rate(scores: Scores, threshold: float, weights: Weights | None = None) -> float:
    """Weighted share of rows with a score of at least the threshold; NaN without rows."""
    alerts = decisions(scores, threshold)
    mass = np.ones(len(alerts)) if weights is None else weights
    total = float(mass.sum())
    return float(mass[alerts].sum()) / total if total > 0 else float("nan")


def decisions(scores: Scores, threshold: float) -> Labels:
    """bool[n]: which rows are alerts; compared in float64 whatever the scores' precision."""
    return scores.astype(np.float64) >= threshold


def threshold_for_alert_rate(scores: Scores, rate: float, weights: Weights | None = None) -> float:
    """The score at which the weighted alert rate is nearest to `rate` (0 to 1).

    Where no alert at all is nearest, the next number above the highest score. Variants take the
    original's rate, so that they raise as much work for investigators and differ in its worth.
    """
    if not len(scores):
        raise ValueError("a threshold needs scores")
    mass = np.ones(len(scores)) if weights is None else weights
    values, group = np.unique(scores, return_inverse=True)
    falling = values[::-1]
    rates = np.cumsum(np.bincount(group, mass, len(values))[::-1]) / mass.sum()
    nearest = int(np.argmin(np.abs(rates - rate)))
    if rate < abs(rates[nearest] - rate):
        return float(np.nextafter(falling[0], np.inf, dtype=scores.dtype))
    return float(falling[nearest])


def best_f1_threshold(labels: Labels, scores: Scores, weights: Weights | None = None) -> float:
    """The score of highest weighted F1, the higher one of equals; ValueError without positives."""
    ranking = Ranking.of(labels, scores)
    curve = ranking.curve(weights)
    if curve.positives <= 0:
        raise ValueError("a threshold by F1 needs positives")
    alerts = curve.true_positives + curve.false_positives
    f1 = 2 * curve.true_positives / (alerts + curve.positives)
    return float(ranking.thresholds[np.argmax(f1)])
