"""Tables: what is read, and what is refused in which words."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from compression.errors import DataError
from compression.heads import Binary, MultiClass, Regression
from compression.workloads.tabular import Table, TableConfig, read_table

ROWS = 40
NUMBERS = np.arange(ROWS, dtype=np.float64)


def _columns() -> dict[str, Any]:
    day = datetime.date(2024, 1, 1)
    return {
        "when": [day + datetime.timedelta(days=i // 2) for i in range(ROWS)],
        "who": [f"{i % 7:03}" for i in range(ROWS)],
        "amount": NUMBERS / 4,
        "count": np.arange(ROWS),
        "new": NUMBERS % 3 == 0,
        "colour": ["red", "blue"] * (ROWS // 2),
        "bad": (np.arange(ROWS) % 5 == 0).astype(np.int64),
    }


def _read(folder: Path, columns: dict[str, Any], suffix: str = "parquet", **settings: Any) -> Table:
    path = folder / f"table.{suffix}"
    write = pa.csv.write_csv if suffix == "csv" else pa.parquet.write_table
    write(pa.table(columns), path)
    document = {"data": path, "label": "bad", "time": "when", "original": folder, **settings}
    return read_table(TableConfig.model_validate(document))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    table = _read(tmp_path, _columns(), suffix, group="who")
    assert table.features == ("amount", "count", "new"), "text is no feature"
    expected = np.stack((NUMBERS / 4, NUMBERS, NUMBERS % 3 == 0), axis=1)
    np.testing.assert_array_equal(table.values, expected.astype(np.float32))
    assert isinstance(table.labels.head, Binary)
    np.testing.assert_array_equal(table.labels.values, np.arange(ROWS) % 5 == 0)
    assert table.first_day == np.datetime64("2024-01-01")
    np.testing.assert_array_equal(table.days, np.arange(ROWS) // 2)
    assert table.days.dtype == table.groups.dtype == np.int32
    assert table.group_ids is not None
    assert table.group_ids[table.groups].tolist() == _columns()["who"]


def test_features_come_in_the_order_asked_for(tmp_path: Path) -> None:
    table = _read(tmp_path, _columns(), features=["count", "amount"])
    assert table.features == ("count", "amount")
    np.testing.assert_array_equal(table.values[:, 0], NUMBERS)


def test_without_a_group_every_row_is_its_own(tmp_path: Path) -> None:
    table = _read(tmp_path, _columns())
    assert table.group_ids is None
    np.testing.assert_array_equal(table.groups, np.arange(ROWS))


def test_time_may_count_days(tmp_path: Path) -> None:
    table = _read(tmp_path, _columns() | {"when": np.arange(ROWS) + 7})
    assert table.first_day is None
    np.testing.assert_array_equal(table.days, np.arange(ROWS))


@pytest.mark.parametrize(
    ("labels", "settings", "head", "values"),
    [
        ([False, True], {}, Binary, [False, True]),
        ([0, 1], {}, Binary, [False, True]),
        ([0.0, 1.0], {}, Binary, [False, True]),
        (["no", "yes"], {"positive": "no"}, Binary, [True, False]),
        ([3, 5], {"positive": "5"}, Binary, [False, True]),
        (["a", "b", "c", "a"], {"positive": "c"}, Binary, [False, False, True, False]),
        ([10, 30, 20, 10], {}, MultiClass, [0, 2, 1, 0]),
        (["b", "a", "c", "a"], {}, MultiClass, [1, 0, 2, 0]),
        ([0, 1], {"head": "multiclass"}, MultiClass, [0, 1]),
        ([0.5, 2.5], {"head": "regression", "threshold": 1}, Regression, [0.5, 2.5]),
        ([1, 2], {"head": "regression", "threshold": 1}, Regression, [1.0, 2.0]),
    ],
)
def test_labels_choose_their_head(
    tmp_path: Path, labels: list[Any], settings: dict[str, Any], head: type, values: list[Any]
) -> None:
    columns = _columns() | {"bad": labels * (ROWS // len(labels))}
    read = _read(tmp_path, columns, **settings).labels
    assert type(read.head) is head
    assert read.values.tolist() == values * (ROWS // len(labels))


def test_classes_keep_their_names(tmp_path: Path) -> None:
    read = _read(tmp_path, _columns() | {"bad": ["b", "a", "c", "a"] * 10}).labels
    assert read.names == ("a", "b", "c")
    assert isinstance(read.head, MultiClass)
    assert read.head.classes == 3


def _with(name: str, row: int, value: Any) -> dict[str, Any]:
    columns = _columns()
    columns[name] = [*list(columns[name])[:row], value, *list(columns[name])[row + 1 :]]
    return columns


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (_columns(), {"label": "worse"}, "no column 'worse'; the file has when, who, amount"),
        (_columns(), {"time": "then"}, "no column 'then'"),
        (_columns(), {"group": "whose"}, "no column 'whose'"),
        (_columns(), {"features": ["amount", "sum"]}, "no column 'sum'; the file has .*bad. Name"),
        (_columns(), {"features": ["colour"]}, "'colour' must hold numbers; it holds string: "),
        (
            _with("amount", 7, float("nan")),
            {},
            r"'amount' must hold finite numbers; it holds nan \(1 such rows\) in row 7 \(from 0\)",
        ),
        (_with("amount", 3, float("inf")), {}, r"'amount' .* holds inf \(1 such rows\) in row 3"),
        (_with("amount", 3, 1e300), {}, "'amount' must hold numbers within the range of float32"),
        (_with("amount", 5, None), {}, "'amount' must hold a value in every row; it holds 1 nulls"),
        (
            _with("bad", 5, None),
            {},
            "'bad' must hold a value in every row; it holds 1 nulls in row 5",
        ),
        (_with("when", 5, None), {}, "'when' must hold a value in every row"),
        (_columns() | {"when": ["soon"] * ROWS}, {}, "'when' must hold dates with times"),
        (
            _columns() | {"when": 10**9 + np.arange(ROWS) * 86_400},
            {},
            "whole numbers that count days; it holds a span of 3,369,600",
        ),
        (_columns() | {"bad": [1] * ROWS}, {}, "'bad' must hold at least two different labels"),
        (_columns() | {"bad": [3, 5] * 20}, {}, "workload.positive must name the label that means"),
        (_columns(), {"positive": "2"}, "it holds the labels 0, 1"),
        (_columns() | {"bad": NUMBERS / 8}, {}, "for fractions say head: regression"),
        (_columns(), {"head": "regression"}, "workload.threshold must say from which value on"),
        (
            {name: np.tile(np.asarray(column), 3) for name, column in _columns().items()}
            | {"bad": np.arange(3 * ROWS)},
            {},
            "at most 100 different labels, or the recipe must say .* it holds 120",
        ),
        (
            {key: _columns()[key] for key in ("when", "bad", "colour")},
            {},
            "no numeric column is left as a feature beside bad, when",
        ),
        ({key: value[:0] for key, value in _columns().items()}, {}, "no rows"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, columns: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _read(tmp_path, columns, **settings)
    if "threshold" not in message:
        assert str(tmp_path / "table.parquet") in str(caught.value)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    config = TableConfig(data=tmp_path / "x.xlsx", label="a", time="b", original=tmp_path)
    with pytest.raises(DataError, match=r"\.csv or \.parquet; this one has '\.xlsx'"):
        read_table(config)
