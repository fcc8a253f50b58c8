"""What the model card shows beyond the manifests, from the scores that were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compression.quality.answers import Answers
from compression.quality.differences import score_differences
from compression.quality.reliability import reliability
from compression.store import Segment, VariantEvidence


def evidence_of(
    answers: Answers, models: Sequence[str], segments: Mapping[str, tuple[Segment, ...]]
) -> dict[str, VariantEvidence]:
    """Reliability, differences to the reference and segments, by model."""
    base = answers.scores[answers.reference]
    return {
        model: VariantEvidence(
            reliability=reliability(answers.labels, answers.scores[model], answers.weights),
            differences=None
            if model == answers.reference
            else score_differences(base, answers.scores[model], answers.weights),
            segments=segments.get(model, ()),
        )
        for model in models
    }
