from __future__ import annotations

import copy

import numpy as np
import pytest

from compression.errors import TechniqueError
from compression.heads import Regression
from compression.training.pool import training_pool
from compression.training.second_teacher import boosting_logits
from compression.workloads.fraud.workload import FraudWorkload


def test_it_tells_frauds_it_has_not_learned_from(tiny_workload: FraudWorkload) -> None:
    pool = training_pool(tiny_workload, 3_000, 0)
    labels, known = tiny_workload.labels[pool], np.ones(len(pool), np.bool_)
    logits = boosting_logits(tiny_workload, pool, known, 6, 0)
    again = boosting_logits(tiny_workload, pool, known, 6, 0)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, again)
    assert logits[labels].mean() > logits[~labels].mean() + 1


def test_a_group_s_labels_do_not_reach_its_own_rows(tiny_workload: FraudWorkload) -> None:
    pool = training_pool(tiny_workload, 3_000, 0)
    known = np.ones(len(pool), np.bool_)
    before = boosting_logits(tiny_workload, pool, known, 6, 0)
    turned = copy.copy(tiny_workload)
    group = tiny_workload.groups[pool[tiny_workload.labels[pool]][0]]
    own = tiny_workload.groups == group
    turned.labels = np.where(own, False, tiny_workload.labels)
    after = boosting_logits(turned, pool, known, 6, 0)
    np.testing.assert_array_equal(before[own[pool]], after[own[pool]])
    assert (before != after).any()  # the other half learned from it


def test_what_cannot_be_learned_is_refused(tiny_workload: FraudWorkload) -> None:
    pool = training_pool(tiny_workload, 500, 0)
    with pytest.raises(TechniqueError, match="one kind alone"):
        boosting_logits(tiny_workload, pool, np.zeros(len(pool), np.bool_), 6, 0)
    other = copy.copy(tiny_workload)
    other.head = Regression(threshold=1.0)
    with pytest.raises(TechniqueError, match="needs a binary head, this one is regression"):
        boosting_logits(other, pool, np.ones(len(pool), np.bool_), 6, 0)
