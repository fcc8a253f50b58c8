from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression.errors import DataError
from compression.quantisation.calibration import CalibrationSet, calibration_set, file_sha256
from tests.compression.quantisation.small import SmallWorkload, workload

DRIFT = 0.25


@pytest.fixture(scope="module")
def rows() -> SmallWorkload:
    return workload("tokens")


def _set(rows: SmallWorkload, name: str, count: int = 200, **options: Any) -> CalibrationSet:
    settings = {"seed": 0, "max_drift": DRIFT, **options}
    source = Path(name) if name.endswith(".npz") else name
    return calibration_set(rows, source, count, **settings)  # type: ignore[arg-type]


def _positions(rows: SmallWorkload, given: CalibrationSet) -> set[int]:
    known = {row.tobytes(): position for position, row in enumerate(rows.data)}
    return {known[row.tobytes()] for row in given.inputs["x"]}


def _file(folder: Path, **arrays: Any) -> str:
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("train", 0, 2000), ("validation", 2000, 3000), ("recent", 1600, 2000)],
)
def test_named_sets_are_drawn_from_their_window(
    rows: SmallWorkload, name: str, first: int, last: int
) -> None:
    given = _set(rows, name)
    positions = _positions(rows, given)
    assert len(positions) == len(given) == 200
    assert min(positions) >= first
    assert max(positions) < last
    assert _positions(rows, _set(rows, name)) == positions
    assert _positions(rows, _set(rows, name, seed=1)) != positions


def test_a_set_has_no_more_rows_than_the_window(rows: SmallWorkload) -> None:
    assert len(_set(rows, "validation", 10**6)) == 1000


def test_batches_are_all_rows_in_order(rows: SmallWorkload) -> None:
    given = _set(rows, "train", 70)
    batches = [batch["x"] for batch in given.batches(32)]
    assert [len(batch) for batch in batches] == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate(batches), given.inputs["x"])
    np.testing.assert_array_equal(given.head(5)["x"], given.inputs["x"][:5])


def test_a_file_is_read_and_cut_to_the_rows_wanted(rows: SmallWorkload, tmp_path: Path) -> None:
    path = _file(tmp_path, x=rows.data[:300])
    given = _set(rows, path, 250)
    assert (given.name, len(given)) == ("set.npz", 250)
    assert given.sha256 == file_sha256(Path(path))
    assert _set(rows, "train").sha256 is None
    np.testing.assert_array_equal(given.inputs["x"], rows.data[:250])


@pytest.mark.parametrize("count", [1, 3, 20, 200])
@pytest.mark.parametrize("name", ["train", "validation", "recent"])
def test_a_small_set_is_not_refused_for_being_small(
    rows: SmallWorkload, name: str, count: int
) -> None:
    for seed in range(5):
        assert len(_set(rows, name, count, seed=seed)) == count


def test_an_empty_set_is_refused(rows: SmallWorkload, tmp_path: Path) -> None:
    path = _file(tmp_path, x=rows.data[:0])
    with pytest.raises(DataError, match=r"set\.npz is empty: ranges cannot be measured on no rows"):
        _set(rows, path)
    without = replace(rows, validation=rows.validation[:0])
    with pytest.raises(DataError, match="calibration set validation is empty"):
        _set(without, "validation")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"has the arrays none; expected one for each model input: x"),
        ({"y": np.ones((9, 5, 12), np.float32)}, r"has the arrays y; expected .*: x"),
        ({"x": np.ones((9, 5, 12))}, r"is float64 of shape \(9, 5, 12\); expected float32"),
        ({"x": np.ones((9, 5, 11), np.float32)}, r"\(9, 5, 11\); expected .* \(rows, 5, 12\)"),
        ({"x": np.ones(9, np.float32)}, r"of shape \(9,\); expected"),
        ({"x": np.array(["a", 1], object)}, r"cannot be read: .*; expected a \.npz"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_the_model_is_refused(
    rows: SmallWorkload, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _set(rows, _file(tmp_path, **arrays))


def test_what_is_no_archive_is_refused(rows: SmallWorkload, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_text("nothing of the kind")
    with pytest.raises(DataError, match="cannot be read"):
        _set(rows, str(path))


def test_a_lone_array_is_no_archive(rows: SmallWorkload, tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", rows.data[:9])
    (tmp_path / "set.npy").rename(tmp_path / "set.npz")
    with pytest.raises(DataError, match="has the arrays none"):
        _set(rows, str(tmp_path / "set.npz"))


def test_values_that_are_not_finite_are_refused(rows: SmallWorkload, tmp_path: Path) -> None:
    data = rows.data[:50].copy()
    data[7, 2, 3], data[9, 0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"input 'x' has 2 values that are not finite.*in row 7"):
        _set(rows, _file(tmp_path, x=data))


def test_a_set_off_the_training_distribution_is_refused_with_its_figures(
    rows: SmallWorkload, tmp_path: Path
) -> None:
    data = rows.data[:300].copy()
    data[..., 4] *= 100  # pence for pounds
    path = _file(tmp_path, x=data)
    with pytest.raises(DataError) as caught:
        _set(rows, path, 300)
    message = str(caught.value)
    assert (
        "calibration set set.npz is off the training window's distribution: input 'x', feature 4"
        in message
    )
    assert "population stability index" in message
    assert "outside the training window's 0.1 to 99.9 % range" in message
    assert "calibration: train" in message
    assert "more features" not in message
    assert len(_set(rows, path, 300, max_drift=None)) == 300


def test_a_set_too_narrow_is_off_the_distribution_as_well(
    rows: SmallWorkload, tmp_path: Path
) -> None:
    path = _file(tmp_path, x=np.zeros((300, 5, 12), np.float32))
    with pytest.raises(DataError, match=r"feature \d+: .* and 11 more features"):
        _set(rows, path, 300)
