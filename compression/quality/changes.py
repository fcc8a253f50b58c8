"""Decisions that turn out otherwise than the original's: how many, which way, by chance or not."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from compression.quality.answers import Answers
from compression.store.manifest import DecisionChanges


def decision_changes(answers: Answers, model: str) -> DecisionChanges:
    """Changes of a model against the reference, both ways, with McNemar's exact test.

    Of the rows on which the two differ, half would go either way if the variant were neither
    laxer nor stricter: a two-sided binomial test (McNemar 1947, exact form). It is made on the
    rows that were read; with a weighted sample it is exact given which rows those are.
    """
    before, after = answers.alerts(answers.reference), answers.alerts(model)
    lost, gained = before & ~after, ~before & after
    down, up = int(lost.sum()), int(gained.sum())
    total = float(answers.mass.sum())
    return DecisionChanges(
        alert_to_pass=down,
        pass_to_alert=up,
        positives_lost=int((lost & answers.labels).sum()),
        positives_gained=int((gained & answers.labels).sum()),
        alert_to_pass_share=float(answers.mass[lost].sum()) / total,
        pass_to_alert_share=float(answers.mass[gained].sum()) / total,
        mcnemar_p=mcnemar_exact(down, up),
    )


def agreement(answers: Answers, model: str) -> float:
    """Weighted share of rows that the model decides as the reference does."""
    same = answers.alerts(model) == answers.alerts(answers.reference)
    return float(np.average(same, weights=answers.weights))


def mcnemar_exact(one_way: int, other_way: int) -> float:
    """Two-sided p of so unequal a split of `one_way + other_way` changes; 1 where none."""
    changes = one_way + other_way
    return float(binomtest(one_way, changes, 0.5).pvalue) if changes else 1.0
