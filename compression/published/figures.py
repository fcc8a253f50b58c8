"""What a model is judged by in the published protocol."""

from __future__ import annotations

from compression.published.folds import CARDS
from compression.quality.metrics import auc, average_precision, card_precision
from compression.store.manifest import Document
from compression.training.scoring import Floats
from compression.workloads.fraud.workload import FraudWorkload


class Figures(Document):
    """Of one test week, or means of several."""

    auc: float
    average_precision: float
    card_precision_100: float


def judged(workload: FraudWorkload, scores: Floats) -> Figures:
    """Figures of scores float32[len(workload.test)]."""
    rows = workload.test
    labels = workload.labels[rows]
    cards = card_precision(
        labels, scores, workload.groups[rows], workload.days[rows], CARDS, remove_detected=True
    )
    assert cards is not None  # there are rows, and no weights
    return Figures(
        auc=auc(labels, scores),
        average_precision=average_precision(labels, scores),
        card_precision_100=cards,
    )
