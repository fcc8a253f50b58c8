"""Everything a manifest says about the quality of models that scored the same test rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compression.errors import DataError, TechniqueError
from compression.quality.answers import Answers
from compression.quality.bootstrap import Replicates, replicate
from compression.quality.changes import agreement, decision_changes
from compression.quality.metrics import (
    Integers,
    card_precision,
    distinct_scores,
    expected_calibration_error,
)
from compression.quality.ranking import Labels, Scores, Weights
from compression.quality.segments import worst
from compression.store import DecisionChanges, Estimate, Quality, Segment


def assess(
    labels: Labels,
    scores_by_model: Mapping[str, Scores],
    thresholds_by_model: Mapping[str, float],
    reference: str,
    customer: Integers,
    day: Integers,
    weights: Weights | None = None,
    *,
    test_description: str,
    replicates: int = 500,
    seed: int = 0,
    parents: Mapping[str, str] | None = None,
    segments: Mapping[str, tuple[Segment, ...]] | None = None,
) -> dict[str, Quality]:
    """Quality of each model, relative to `reference` (the original) and to its parent.

    labels bool[n]; scores float[n] by model, probabilities; customer and day int[n]; weights
    float64[n] of a sample, or None where the rows are the whole test. Thresholds are the models'
    own; a model without one has no decision agreement. `parents` says whose child a model is;
    parents must be among the models. The reference has no ratios. `segments` are those of
    `compression.quality.segments.by_segment`; the worst of them is named.

    TechniqueError names a model whose scores are not finite or not one per row; DataError where
    the rows lack positives or negatives.
    """
    _check(labels, scores_by_model)
    drawn = replicate(labels, scores_by_model, customer, weights, replicates=replicates, seed=seed)
    answers = Answers(labels, scores_by_model, thresholds_by_model, reference, customer, weights)
    changes = _changes(answers)
    distinct = {model: distinct_scores(scores) for model, scores in scores_by_model.items()}
    return {
        model: Quality(
            test=test_description,
            rows=len(labels),
            positives=int(labels.sum()),
            metrics=drawn[model].estimates() | _others(labels, scores, customer, day, weights),
            ratios_to_original=_ratios(drawn, model, reference, reference),
            ratios_to_parent=_ratios(drawn, model, (parents or {}).get(model), reference),
            decision_agreement=agreement(answers, model) if model in changes else None,
            distinct_scores=distinct[model],
            distinct_scores_original=None if model == reference else distinct[reference],
            decision_changes=changes.get(model),
            worst_segment=worst((segments or {}).get(model, ())),
        )
        for model, scores in scores_by_model.items()
    }


def _check(labels: Labels, scores_by_model: Mapping[str, Scores]) -> None:
    if labels.all() or not labels.any():
        raise DataError(f"quality needs positives and negatives: {labels.sum()} of {len(labels)}")
    for model, scores in scores_by_model.items():
        if scores.shape != labels.shape:
            raise TechniqueError(f"{model}: {scores.shape} scores for {labels.shape} rows")
        broken = int((~np.isfinite(scores)).sum())
        if broken:
            raise TechniqueError(f"{model}: {broken} of {len(scores)} scores are not finite")


def _ratios(
    drawn: Mapping[str, Replicates], model: str, other: str | None, reference: str
) -> dict[str, Estimate]:
    if other is None or model == reference:
        return {}
    return drawn[model].ratios_to(drawn[other])


def _others(
    labels: Labels, scores: Scores, customer: Integers, day: Integers, weights: Weights | None
) -> dict[str, Estimate]:
    """Metrics without an interval; card precision only where the rows are the whole test."""
    others = {"ece": Estimate(value=expected_calibration_error(labels, scores, weights))}
    precision = card_precision(labels, scores, customer, day, weights=weights)
    if precision is not None:
        others["card_precision_100"] = Estimate(value=precision)
    return others


def _changes(answers: Answers) -> dict[str, DecisionChanges]:
    """Of the models that can be held against the reference: both need a threshold."""
    if answers.reference not in answers.thresholds:
        return {}
    return {
        model: decision_changes(answers, model)
        for model in answers.scores
        if model != answers.reference and model in answers.thresholds
    }
