from __future__ import annotations

import numpy as np

from compression.quality.metrics import auc
from compression.workloads.verification.discriminant import DiscriminantBaseline
from compression.workloads.verification.pairs import PairConfig, draw_pairs
from compression.workloads.verification.pictures import PictureConfig, draw_pictures


def test_it_tells_people_apart_whom_it_never_saw() -> None:
    """And its scores are probabilities."""
    config = PictureConfig(size=16, pictures=6, pose=0.3, covered=0.2)
    drawn = draw_pictures(config, 40)
    generator = np.random.default_rng(0)
    train, test = (
        draw_pairs(PairConfig(), families, config.relatives, config.pictures, generator)
        for families in ((0, 28), (28, 40))
    )
    same, expected = (drawn.identity[p.probe] == drawn.identity[p.reference] for p in (train, test))
    pictures = np.unique(train.probe)
    baseline = DiscriminantBaseline(drawn.pixels).fit(
        pictures, drawn.identity[pictures], train, same, seed=0
    )
    scores = baseline.score(test)
    assert scores.dtype == np.float32
    assert scores.shape == test.probe.shape
    assert 0 < scores.min() < scores.max() < 1
    assert auc(expected, scores) > 0.75
    assert auc(expected, baseline.score(type(test)(test.reference, test.probe))) == auc(
        expected, scores
    ), "neither picture of a pair comes first"
