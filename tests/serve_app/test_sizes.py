from __future__ import annotations

import pytest

from serve_app.sizes import batch_rows_for, direct_rows_for, lanes_for, queued_rows_for


@pytest.mark.parametrize(
    ("call", "row", "expected"),
    [(50e-6, 10e-6, 6), (150e-6, 1e-6, 0), (100e-6, 10e-6, 1), (10e-6, 0.0, 91)],
)
def test_direct_rows_follow_from_the_measured_times(call: float, row: float, expected: int) -> None:
    assert direct_rows_for(call, row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (5e-3, 64), (15e-6, 64), (5.5e-6, 256), (4.7e-6, 256), (2.8e-6, 512), (1e-9, 1024),
        (0.0, 1024),
    ],
)  # fmt: skip
def test_a_batch_takes_a_millisecond_or_two_but_never_fewer_than_64_rows(
    row: float, expected: int
) -> None:
    assert batch_rows_for(row) == expected


@pytest.mark.parametrize(
    ("row", "timeout", "expected"),
    [(5e-3, 2.0, 256), (1e-3, 2.0, 500), (3e-6, 2.0, 4096), (0.0, 2.0, 4096), (1e-3, 0.1, 256)],
)
def test_who_waits_is_computed_within_a_quarter_of_the_time_limit(
    row: float, timeout: float, expected: int
) -> None:
    assert queued_rows_for(row, timeout) == expected


@pytest.mark.parametrize(
    ("call", "row", "rows", "expected"),
    [(50e-6, 3e-6, 256, 2), (50e-6, 5e-3, 64, 1), (0.0, 15e-6, 64, 2), (3e-3, 0.0, 1, 1)],
)
def test_only_short_batches_have_another_beside_them(
    call: float, row: float, rows: int, expected: int
) -> None:
    assert lanes_for(call, row, rows) == expected


@pytest.mark.parametrize("row", [1.8e-6, 2.8e-6, 3.5e-6, 4.7e-6, 5.5e-6, 7e-6, 14e-6, 28e-6])
def test_a_batch_of_the_default_length_is_short_enough_for_another_beside_it(row: float) -> None:
    assert lanes_for(100e-6, row, batch_rows_for(row)) == 2
