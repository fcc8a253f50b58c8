from __future__ import annotations

import pytest

from serve_app.statistics import VariantStatistics, total


def counted() -> VariantStatistics:
    made = VariantStatistics()
    made.answer(0.5, 0.1, 0.2, 0.125, 0.05)
    made.fail(0.25)
    made.execute(4, 0.125)
    made.execute(4, 0.25)
    made.execute(1, 0.5)
    return made


def test_batches_are_counted_by_their_rows() -> None:
    made = counted()
    assert made.execution_count == 3
    assert made.inference_count == 9
    assert (made.by_rows[4].count, made.by_rows[4].seconds) == (2, 0.375)
    assert (made.answered, made.failed) == (1, 1)


def test_replicas_add_up_and_stay_as_they_are() -> None:
    replicas = [counted(), counted(), VariantStatistics()]
    replicas[1].execute(64, 1.0)
    summed = total(replicas)
    assert summed.answered_seconds == pytest.approx(1.0)
    assert (summed.answered, summed.failed, summed.failed_seconds) == (2, 2, 0.5)
    assert {rows: one.count for rows, one in summed.by_rows.items()} == {4: 4, 1: 2, 64: 1}
    assert summed.inference_count == 2 * 9 + 64
    assert summed.last_execution == replicas[1].last_execution
    assert replicas[0].by_rows[4].count == 2
