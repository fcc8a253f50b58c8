from __future__ import annotations

import numpy as np
import pytest
import torch

from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.train import Train, TrainOptions, labelled
from compression.training.pool import training_pool
from compression.training.scoring import outputs_of
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.techniques.conftest import TRAINING
from tests.compression.techniques.reports import Reports


def test_the_twin_has_the_student_s_size_and_training_but_no_teacher(
    alone: Candidate, distilled: Candidate
) -> None:
    assert alone.template == distilled.template
    assert alone.notes[0]["rows_seen"] == distilled.notes[0]["rows_seen"]
    assert set(alone.notes[0]) == {"training_seconds", "rows_seen"}
    weight = "body.head.weight"
    assert not torch.equal(alone.module.state_dict()[weight], distilled.module.state_dict()[weight])


def test_the_twin_learns(alone: Candidate, tiny_workload: FraudWorkload) -> None:
    rows = tiny_workload.validation
    labels = tiny_workload.labels[rows]
    untrained = alone.template.build(tiny_workload)
    apart = [
        float(scores[labels].mean() - scores[~labels].mean())
        for scores in (
            outputs_of(module.body, tiny_workload.gather, rows)
            for module in (untrained, alone.module)
        )
    ]
    assert apart[1] > apart[0] + 1


def test_the_pool_is_every_positive_and_drawn_negatives_of_the_training_window(
    tiny_workload: FraudWorkload,
) -> None:
    pool = training_pool(tiny_workload, 500, seed=0)
    labels = tiny_workload.labels
    assert set(tiny_workload.train[labels[tiny_workload.train]]) <= set(pool)
    assert (~labels[pool]).sum() == 500
    assert (np.diff(pool) > 0).all()
    assert set(pool) <= set(tiny_workload.train)
    np.testing.assert_array_equal(pool, training_pool(tiny_workload, 500, seed=0))
    assert not np.array_equal(pool, training_pool(tiny_workload, 500, seed=1))


def test_a_pool_larger_than_the_window_is_the_window(tiny_workload: FraudWorkload) -> None:
    pool = training_pool(tiny_workload, 10**9, seed=0)
    np.testing.assert_array_equal(pool, tiny_workload.train)


def test_labels_come_late(tiny_workload: FraudWorkload) -> None:
    options = TrainOptions(labelled_share=0.25)
    known = labelled(options, tiny_workload, tiny_workload.train)
    assert known.mean() == pytest.approx(0.25, abs=0.001)
    assert known[: known.sum()].all(), "those of the first weeks"
    assert labelled(TrainOptions(), tiny_workload, tiny_workload.train).all()


def test_another_seed_is_another_student(candidate: Candidate, shared_context: Context) -> None:
    options = TrainOptions.model_validate({**TRAINING, "epochs": 1, "seed": 1})
    student = Train().apply(candidate, options, shared_context, Reports())
    assert student.template.options["seed"] == 1
