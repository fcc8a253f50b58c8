"""Quality by segment: a good average can hide a group of rows for whom the variant is bad."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from compression.quality.answers import Answers
from compression.quality.bootstrap import replicate
from compression.quality.calibration import alert_rate
from compression.quality.changes import agreement, decision_changes
from compression.quality.metrics import auc, average_precision
from compression.quality.segmentation import Segmentation
from compression.store import Estimate, Segment, WorstSegment

MINIMUM_POSITIVES = 50
"""Positives, and negatives, that a segment needs for an interval. With fewer, draws of customers
often leave a handful of positives, and average precision jumps with each of them."""


def by_segment(
    answers: Answers,
    divisions: Mapping[str, Segmentation],
    *,
    replicates: int = 500,
    seed: int = 0,
) -> dict[str, tuple[Segment, ...]]:
    """Every model that has a threshold in every segment that has rows, by model.

    `divisions` divides the rows of `answers`, by dimension. Ratios have 95 % intervals by a
    bootstrap over the segment's customers, paired between models.
    """
    models = [model for model in answers.scores if model in answers.thresholds]
    found: dict[str, list[Segment]] = {model: [] for model in models}
    for dimension, division in divisions.items():
        for code, name in enumerate(division.names):
            chosen = division.codes == code
            if not chosen.any():
                continue
            inside = answers.among(chosen)
            ratios = _ratios(inside, models, replicates, seed)
            for model in models:
                found[model].append(_segment(inside, model, dimension, name, ratios.get(model, {})))
    return {model: tuple(segments) for model, segments in found.items()}


def worst(segments: Sequence[Segment]) -> WorstSegment | None:
    """The segment of the lowest ratio of average precision, of those that have an interval."""
    judged = list(_judged(segments))
    if not judged:
        return None
    segment, ratio = min(judged, key=lambda pair: pair[1].value)
    return WorstSegment(
        dimension=segment.dimension,
        name=segment.name,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
    )


def _judged(segments: Sequence[Segment]) -> Iterator[tuple[Segment, Estimate]]:
    for segment in segments:
        if segment.average_precision_ratio is not None:
            yield segment, segment.average_precision_ratio


def _ratios(
    inside: Answers, models: Sequence[str], replicates: int, seed: int
) -> dict[str, dict[str, Estimate]]:
    """Ratios to the reference by model; none where the segment is too small to tell."""
    positives = int(inside.labels.sum())
    if min(positives, len(inside.labels) - positives) < MINIMUM_POSITIVES:
        return {}
    scores = {model: inside.scores[model] for model in models}
    drawn = replicate(
        inside.labels, scores, inside.customer, inside.weights, replicates=replicates, seed=seed
    )
    reference = drawn[inside.reference]
    return {m: d.ratios_to(reference) for m, d in drawn.items() if m != inside.reference}


def _segment(
    inside: Answers, model: str, dimension: str, name: str, ratios: Mapping[str, Estimate]
) -> Segment:
    labels, weights, other = inside.labels, inside.weights, inside.reference
    own, base = inside.scores[model], inside.scores[other]
    compared = model != other
    return Segment(
        dimension=dimension,
        name=name,
        rows=len(labels),
        positives=int(labels.sum()),
        average_precision=_finite(average_precision(labels, own, weights)),
        average_precision_original=_finite(average_precision(labels, base, weights)),
        auc=_finite(auc(labels, own, weights)),
        auc_original=_finite(auc(labels, base, weights)),
        average_precision_ratio=ratios.get("average_precision"),
        auc_ratio=ratios.get("auc"),
        alert_rate=_finite(alert_rate(own, inside.thresholds[model], weights)),
        alert_rate_original=_finite(alert_rate(base, inside.thresholds[other], weights)),
        decision_agreement=agreement(inside, model) if compared else None,
        changes=decision_changes(inside, model) if compared else None,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
