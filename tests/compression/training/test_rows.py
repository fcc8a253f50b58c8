from __future__ import annotations

import numpy as np
import pytest

from compression.training.rows import TrainingRows, pooled
from tests.compression.training.toy import toy_rows

SEED = 3


def _rows(**changes: object) -> TrainingRows:
    labels = np.zeros(100, np.bool_)
    labels[::10] = True
    x = np.arange(200, dtype=np.float32).reshape(100, 2)
    y = np.arange(100, dtype=np.float32)
    targets = labels.astype(np.float32)
    return TrainingRows(pooled({"x": x, "y": y}), targets, labels, **changes)  # type: ignore[arg-type]


def test_an_epoch_takes_every_positive_and_draws_negatives() -> None:
    rows = _rows()
    positions = rows.epoch(np.random.default_rng(SEED), 2.5)
    assert len(positions) == len(set(positions)) == 10 + 25
    assert set(np.flatnonzero(rows.rare)) <= set(positions)


def test_epochs_draw_other_negatives_in_another_order() -> None:
    rows, generator = _rows(), np.random.default_rng(SEED)
    first, second = rows.epoch(generator, 2), rows.epoch(generator, 2)
    assert set(first) != set(second)
    again = rows.epoch(np.random.default_rng(SEED), 2)
    np.testing.assert_array_equal(first, again)


def test_negatives_end_where_there_are_no_more() -> None:
    assert len(_rows().epoch(np.random.default_rng(SEED), 1000)) == 100


@pytest.mark.parametrize(("bound", "positives"), [(4, 4), (10, 10), (99, 10), (None, 10)])
def test_quick_runs_bound_the_positives(bound: int | None, positives: int) -> None:
    rows = _rows(max_positives=bound)
    positions = rows.epoch(np.random.default_rng(SEED), 1)
    assert rows.rare[positions].sum() == positives
    assert len(positions) == 2 * positives


def test_batches_keep_inputs_labels_and_teacher_together() -> None:
    rows = _rows(teacher=np.arange(100, dtype=np.float32) * 10)
    positions = rows.epoch(np.random.default_rng(SEED), 3)
    batches = list(rows.batches(positions, 8))
    assert len(batches) == 5, "40 rows are five batches of 8"
    for batch, start in zip(batches, range(0, 40, 8), strict=True):
        chosen = positions[start : start + 8]
        x, y = batch.inputs
        np.testing.assert_array_equal(x.numpy()[:, 0], 2 * chosen)
        np.testing.assert_array_equal(y.numpy(), chosen)
        np.testing.assert_array_equal(batch.targets.numpy(), rows.targets[chosen])
        assert batch.teacher is not None
        np.testing.assert_array_equal(batch.teacher.numpy(), 10 * chosen)


def test_a_last_smaller_batch_is_left_out() -> None:
    rows = toy_rows(50)
    assert [len(b.targets) for b in rows.batches(np.arange(50), 20)] == [20, 20]
    assert list(rows.batches(np.arange(10), 20)) == []


def test_without_a_teacher_batches_carry_none() -> None:
    (batch,) = _rows().batches(np.arange(8), 8)
    assert batch.teacher is None


def test_rows_near_to_the_rare_have_their_share() -> None:
    near = np.zeros(100, np.bool_)
    near[1:21] = True  # two of them are rare, and stay so
    rows = _rows(near=near, near_share=0.4)
    positions = rows.epoch(np.random.default_rng(SEED), 2)
    assert rows.rare[positions].sum() == 10
    assert (near & ~rows.rare)[positions].sum() == 8, "0.4 of 20 others"
    assert len(set(positions)) == 30


def test_batches_say_whose_label_is_known() -> None:
    known = np.arange(100) < 50
    (batch,) = _rows(known=known).batches(np.arange(46, 54), 8)
    assert batch.known is not None
    assert batch.known.tolist() == [True] * 4 + [False] * 4
