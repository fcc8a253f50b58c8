from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from compression.errors import DataError
from compression.workloads.fraud.files import read_transactions, write_transactions
from compression.workloads.fraud.simulator import SimulatorConfig, simulate
from compression.workloads.fraud.transactions import Transactions

SUFFIXES = ["csv", "parquet"]


@pytest.fixture(scope="module")
def tiny() -> Transactions:
    return simulate(SimulatorConfig(customers=20, terminals=200, radius=20.0, days=10))


def _rows() -> dict[str, list[Any]]:
    """Three rows, not in order of time."""
    return {
        "TX_DATETIME": ["2024-02-28 23:59:59", "2024-02-28 08:00:00", "2024-03-01 00:00:01"],
        "CUSTOMER_ID": ["b", "a", "b"],
        "TERMINAL_ID": [70, 50, 50],
        "TX_AMOUNT": [1.5, 2.0, 0.0],
        "TX_FRAUD": [0, 1, 0],
    }


def _write(path: Path, rows: dict[str, Any]) -> Path:
    table = pa.table(rows)
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
        return path
    if "TX_DATETIME" in rows and pa.types.is_string(table.schema.field("TX_DATETIME").type):
        times = table.column("TX_DATETIME").cast(pa.timestamp("us"))
        table = table.set_column(table.schema.get_field_index("TX_DATETIME"), "TX_DATETIME", times)
    pa.parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tiny: Transactions, tmp_path: Path, suffix: str) -> None:
    write_transactions(tiny, tmp_path / f"tx.{suffix}")
    back = read_transactions(tmp_path / f"tx.{suffix}")
    columns = ["transaction_id", "datetime", "amount", "time_seconds", "time_days", "fraud"]
    for name in [*columns, "scenario"]:
        np.testing.assert_array_equal(getattr(back, name), getattr(tiny, name))
        assert getattr(back, name).dtype == getattr(tiny, name).dtype
    # Codes may differ: the file knows no customer who never bought.
    for codes, ids, xy in (
        ("customer", "customer_ids", "customer_xy"),
        ("terminal", "terminal_ids", "terminal_xy"),
    ):
        for of_code in (ids, xy):
            np.testing.assert_array_equal(
                getattr(back, of_code)[getattr(back, codes)],
                getattr(tiny, of_code)[getattr(tiny, codes)],
            )
            assert getattr(back, of_code).dtype == getattr(tiny, of_code).dtype


def test_both_formats_give_the_same_data(tiny: Transactions, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write_transactions(tiny, tmp_path / f"tx.{suffix}")
    hashes = {read_transactions(tmp_path / f"tx.{suffix}").data_hash() for suffix in SUFFIXES}
    assert len(hashes) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_needed_columns_suffice(tmp_path: Path, suffix: str) -> None:
    tx = read_transactions(_write(tmp_path / f"tx.{suffix}", _rows()))
    assert tx.transaction_id.tolist() == [1, 0, 2]
    assert tx.time_days.tolist() == [0, 0, 2]
    assert tx.time_seconds.tolist() == [8 * 3600, 86_399, 2 * 86_400 + 1]
    assert tx.customer_ids[tx.customer].tolist() == ["a", "b", "b"]
    assert tx.terminal_ids[tx.terminal].tolist() == [50, 70, 50]
    assert tx.terminal_ids.dtype == np.int64
    assert tx.fraud.tolist() == [True, False, False]
    assert not tx.scenario.any()
    assert tx.customer_xy.shape == (2, 2)
    assert not tx.customer_xy.any()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_own_column_names(tmp_path: Path, suffix: str) -> None:
    rows = _rows()
    rows["betrag"] = rows.pop("TX_AMOUNT")
    path = _write(tmp_path / f"tx.{suffix}", rows)
    tx = read_transactions(path, {"TX_AMOUNT": "betrag"})
    assert tx.amount.tolist() == [2.0, 1.5, 0.0]


def test_leading_zeros_of_ids_are_kept(tmp_path: Path) -> None:
    rows = _rows() | {"CUSTOMER_ID": ["007", "7", "007"]}
    tx = read_transactions(_write(tmp_path / "tx.csv", rows))
    assert tx.customer_ids.tolist() == ["007", "7"]


def test_booleans_are_labels(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        rows = _rows() | {"TX_FRAUD": [False, True, False]}
        assert read_transactions(_write(tmp_path / f"tx.{suffix}", rows)).fraud.sum() == 1


def test_days_may_start_later(tmp_path: Path) -> None:
    rows = _rows() | {"TX_TIME_DAYS": [30, 30, 32]}
    tx = read_transactions(_write(tmp_path / "tx.parquet", rows))
    assert tx.time_days.tolist() == [30, 30, 32]
    assert tx.time_seconds[0] == 30 * 86_400 + 8 * 3600


def test_time_zones_become_utc(tmp_path: Path) -> None:
    local = pa.array([0, 1, 2], pa.timestamp("s", tz="Europe/Berlin"))
    rows: dict[str, Any] = _rows() | {"TX_DATETIME": local}
    tx = read_transactions(_write(tmp_path / "tx.parquet", rows))
    assert tx.datetime[0] == np.datetime64("1970-01-01T00:00:00")


_INF = float("inf")
_XY = {"CUSTOMER_X": [1.0, 2.0, 1.0], "CUSTOMER_Y": [0.0] * 3, "TERMINAL_X": [0.0] * 3}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TX_AMOUNT": [1.0, None, 2.0]}, r"'TX_AMOUNT'.*every row.*1 nulls in row 1"),
        ({"TX_AMOUNT": [1.0, 2.0, _INF]}, r"'TX_AMOUNT'.*finite amounts >= 0.*inf.*row 2"),
        ({"TX_AMOUNT": [-1.0, 2.0, -3.0]}, r"'TX_AMOUNT'.*-1(\.0)? \(2 such rows\) in row 0"),
        ({"TX_AMOUNT": ["1,50", "2", "x"]}, r"'TX_AMOUNT'.*must hold numbers"),
        ({"TX_FRAUD": [0, 2, 0]}, r"'TX_FRAUD'.*0 or 1.*row 1"),
        ({"CUSTOMER_ID": ["a", None, "b"]}, r"'CUSTOMER_ID'.*1 nulls in row 1"),
        ({"TX_FRAUD_SCENARIO": [0, -1, 0]}, r"'TX_FRAUD_SCENARIO'.*optional"),
        ({"TX_FRAUD_SCENARIO": [0, 1000, 0]}, r"'TX_FRAUD_SCENARIO'.*0 to 127"),
        ({"TX_TIME_DAYS": [0, 0, 1]}, r"'TX_TIME_DAYS'.*agree with TX_DATETIME.*row 2"),
        ({"TX_TIME_SECONDS": [1, 2, 3]}, r"'TX_TIME_SECONDS'.*agree with TX_DATETIME"),
        ({"CUSTOMER_X": [1.0, 2.0, 1.0]}, r"CUSTOMER_X but not CUSTOMER_Y, TERMINAL_X, TERMINAL_Y"),
        (_XY | {"TERMINAL_Y": [0.0, _INF, 0.0]}, r"'TERMINAL_Y'.*finite"),
        (_XY | {"TERMINAL_Y": [0.0, 1.0, 2.0]}, r"'TERMINAL_Y'.*one place for each terminal"),
    ],
)
def test_bad_values_are_named(
    tmp_path: Path, suffix: str, change: dict[str, Any], message: str
) -> None:
    path = _write(tmp_path / f"tx.{suffix}", _rows() | change)
    with pytest.raises(DataError, match=message) as caught:
        read_transactions(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_is_named_with_those_there(tmp_path: Path, suffix: str) -> None:
    rows = _rows()
    rows["amt"] = rows.pop("TX_AMOUNT")
    path = _write(tmp_path / f"tx.{suffix}", rows)
    with pytest.raises(DataError, match=r"no column 'TX_AMOUNT'.*the file has .*amt"):
        read_transactions(path)
    with pytest.raises(DataError, match=r"no column 'sum' \(for TX_AMOUNT\)"):
        read_transactions(path, {"TX_AMOUNT": "sum"})


def test_a_mapped_optional_column_must_be_there(tmp_path: Path) -> None:
    path = _write(tmp_path / "tx.csv", _rows())
    with pytest.raises(DataError, match=r"no column 'home_x' \(for CUSTOMER_X\)"):
        read_transactions(path, {"CUSTOMER_X": "home_x"})


def test_dates_that_are_no_dates(tmp_path: Path) -> None:
    path = _write(tmp_path / "tx.csv", _rows() | {"TX_DATETIME": ["28.2.2024", "x", "y"]})
    with pytest.raises(DataError, match=r"'TX_DATETIME'.*dates with times"):
        read_transactions(path)


def test_an_unknown_mapping_key_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "tx.csv", _rows())
    with pytest.raises(DataError, match=r"unknown key 'AMOUNT'.*TX_AMOUNT"):
        read_transactions(path, {"AMOUNT": "betrag"})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unreadable_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tx.{suffix}"
    with pytest.raises(DataError, match="cannot be read"):
        read_transactions(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        read_transactions(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_rows(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"tx.{suffix}", {name: values[:0] for name, values in _rows().items()})
    with pytest.raises(DataError, match="no rows"):
        read_transactions(path)


def test_other_formats_are_refused(tiny: Transactions, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.csv or \.parquet.*'\.pkl'"):
        read_transactions(tmp_path / "tx.pkl")
    with pytest.raises(DataError, match=r"'\.pkl'"):
        write_transactions(tiny, tmp_path / "tx.pkl")
