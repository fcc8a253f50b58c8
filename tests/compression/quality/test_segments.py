from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from compression.quality.answers import Answers
from compression.quality.segmentation import Segmentation
from compression.quality.segments import MINIMUM_POSITIVES, by_segment, worst


@pytest.fixture
def answers(drawn: Any) -> Answers:
    """A variant that is as good as the original, but for the first 2,000 rows."""
    rows = drawn(6000, seed=5, share=0.1)
    variant = rows.scores.copy()
    variant[:2000] = rows.scores[:2000][::-1]
    scores = {"original": rows.scores, "variant": variant, "unthresholded": variant}
    thresholds = {"original": 0.8, "variant": 0.7}
    return Answers(rows.labels, scores, thresholds, "original", rows.customer)


@pytest.fixture
def divisions() -> dict[str, Segmentation]:
    third = Segmentation(("first", "second", "nobody", "third"), np.repeat([0, 1, 3], 2000))
    tail = Segmentation(("head", "tail"), (np.arange(6000) >= 5900).astype(np.int64))
    return {"third": third, "tail": tail}


def test_figures_are_those_of_the_segment_s_rows(
    answers: Answers, divisions: dict[str, Segmentation]
) -> None:
    found = by_segment(answers, divisions, replicates=40)
    assert set(found) == {"original", "variant"}, "without a threshold nothing is decided"
    names = [(segment.dimension, segment.name) for segment in found["variant"]]
    assert names == [
        ("third", "first"), ("third", "second"), ("third", "third"), ("tail", "head"),
        ("tail", "tail"),
    ]  # fmt: skip
    first, inside = found["variant"][0], slice(0, 2000)
    labels, own = answers.labels[inside], answers.scores["variant"][inside]
    assert (first.rows, first.positives) == (2000, labels.sum())
    assert first.average_precision == pytest.approx(average_precision_score(labels, own))
    assert first.auc == pytest.approx(roc_auc_score(labels, own))
    base = answers.scores["original"][inside]
    assert first.auc_original == pytest.approx(roc_auc_score(labels, base))
    assert first.alert_rate == pytest.approx((own.astype(float) >= 0.7).mean())
    assert first.alert_rate_original == pytest.approx((base.astype(float) >= 0.8).mean())
    assert first.changes is not None
    differing = first.changes.alert_to_pass + first.changes.pass_to_alert
    assert first.decision_agreement == pytest.approx(1 - differing / 2000)


def test_the_worst_segment_is_found_with_its_interval(
    answers: Answers, divisions: dict[str, Segmentation]
) -> None:
    lowest = worst(by_segment(answers, divisions, replicates=40)["variant"])
    assert lowest is not None
    assert (lowest.dimension, lowest.name) == ("third", "first")
    assert lowest.low is not None
    assert lowest.high is not None
    assert lowest.low <= lowest.ratio <= lowest.high < 0.8
    assert worst(()) is None


def test_small_segments_have_figures_but_no_interval(
    answers: Answers, divisions: dict[str, Segmentation]
) -> None:
    tail = by_segment(answers, divisions, replicates=10)["variant"][-1]
    assert 0 < tail.positives < MINIMUM_POSITIVES
    assert tail.average_precision is not None
    assert (tail.average_precision_ratio, tail.auc_ratio) == (None, None)
    assert worst([tail]) is None


def test_the_original_is_not_compared_with_itself(
    answers: Answers, divisions: dict[str, Segmentation]
) -> None:
    for segment in by_segment(answers, divisions, replicates=10)["original"]:
        assert segment.average_precision == segment.average_precision_original
        assert segment.average_precision_ratio is None
        assert segment.changes is None


def test_a_segment_of_one_class_has_no_ranking(answers: Answers) -> None:
    by_label = {"label": Segmentation.of(answers.labels)}
    negatives, positives = by_segment(answers, by_label, replicates=10)["variant"]
    assert (negatives.name, positives.name) == ("False", "True")
    assert (negatives.average_precision, negatives.auc) == (None, None)
    assert positives.auc is None


def test_weights_count(answers: Answers, divisions: dict[str, Segmentation]) -> None:
    weights = np.where(answers.labels, 1.0, 3.0)
    weighted = Answers(
        answers.labels, answers.scores, answers.thresholds, "original", answers.customer, weights
    )
    first = by_segment(weighted, divisions, replicates=10)["variant"][0]
    own = answers.scores["variant"][:2000]
    expected = average_precision_score(answers.labels[:2000], own, sample_weight=weights[:2000])
    assert first.average_precision == pytest.approx(expected)


def test_bands_include_their_upper_edge() -> None:
    bands = Segmentation.bands(np.array([0.0, 1.0, 1.5, 9.0]), (1.0, 5.0), ("low", "mid", "high"))
    assert [bands.names[code] for code in bands.codes] == ["low", "low", "mid", "high"]
    assert bands.of_rows(np.array([3, 0])).codes.tolist() == [2, 0]
    for edges in ((1.0,), (5.0, 1.0), (1.0, 1.0)):
        with pytest.raises(ValueError, match="one name more"):
            Segmentation.bands(np.zeros(1), edges, ("low", "mid", "high"))
