import numpy as np
import pytest

from compression.quality.answers import Answers
from compression.quality.changes import agreement, decision_changes, mcnemar_exact


@pytest.fixture
def answers() -> Answers:
    """Two rows go from alert to pass, one the other way; one of the first is positive."""
    original = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.5])
    variant = np.array([0.9, 0.2, 0.3, 0.8, 0.1, 0.4])
    labels = np.array([True, True, False, False, False, False])
    return Answers(
        labels,
        {"original": original, "variant": variant},
        {"original": 0.5, "variant": 0.4},
        "original",
        np.arange(6),
    )


def test_changes_are_counted_both_ways(answers: Answers) -> None:
    changes = decision_changes(answers, "variant")
    assert (changes.alert_to_pass, changes.pass_to_alert) == (2, 1)
    assert (changes.positives_lost, changes.positives_gained) == (1, 0)
    assert changes.alert_to_pass_share == pytest.approx(2 / 6)
    assert changes.mcnemar_p == 1.0
    assert agreement(answers, "variant") == pytest.approx(0.5)


def test_shares_are_weighted_and_counts_are_not(answers: Answers) -> None:
    weights = np.array([1.0, 1.0, 4.0, 2.0, 1.0, 1.0])
    weighted = Answers(
        answers.labels, answers.scores, answers.thresholds, "original", answers.customer, weights
    )
    changes = decision_changes(weighted, "variant")
    assert (changes.alert_to_pass, changes.pass_to_alert) == (2, 1)
    assert changes.alert_to_pass_share == pytest.approx(0.5)
    assert changes.pass_to_alert_share == pytest.approx(0.2)
    assert agreement(weighted, "variant") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("one_way", "other_way", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (1, 9, 22 / 1024), (7, 7, 1.0)],
)
def test_mcnemar_is_exact(one_way: int, other_way: int, p: float) -> None:
    assert mcnemar_exact(one_way, other_way) == pytest.approx(p)
