from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compression.errors import DataError
from compression.heads import Binary


def test_a_window_of_one_kind_is_refused() -> None:
    Binary().check(np.array([True, False]), "train")
    with pytest.raises(DataError, match="the test window has 0 positives among 3 rows"):
        Binary().check(np.zeros(3, np.bool_), "test")


def test_calibration_turns_logits_into_frequencies() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=5000).astype(np.float32)
    labels = generator.random(5000) < 1 / (1 + np.exp(3 - 2 * logits))
    scorer = Binary().scorer(nn.Identity())
    Binary().calibrate(scorer, logits, labels, np.ones(5000))
    scores = scorer(torch.from_numpy(logits))
    assert float(scores.mean()) == pytest.approx(labels.mean(), abs=0.005)
    assert float(scorer.get_buffer("slope")) == pytest.approx(2, abs=0.25)


def test_a_row_is_its_own_trial() -> None:
    trials = Binary().trials(np.array([0.1, 0.9], np.float32), np.array([False, True]))
    assert trials.labels.tolist() == [False, True]
    assert trials.rows.tolist() == [0, 1]
