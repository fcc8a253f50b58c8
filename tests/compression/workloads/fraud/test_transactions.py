from dataclasses import replace

import numpy as np
import pytest

from compression.workloads.fraud.transactions import Transactions


def test_length_and_days(small_transactions: Transactions) -> None:
    assert len(small_transactions) == len(small_transactions.amount)
    assert small_transactions.days == 183


def test_columns_agree(small_transactions: Transactions) -> None:
    tx = small_transactions
    assert (np.diff(tx.time_seconds) >= 0).all()
    assert (tx.time_days == tx.time_seconds // 86_400).all()
    start = np.datetime64("2018-04-01", "s")
    assert ((tx.datetime - start).astype(np.int64) == tx.time_seconds).all()
    assert (tx.fraud == (tx.scenario > 0)).all()


@pytest.mark.parametrize(
    "column", ["amount", "fraud", "customer", "terminal", "scenario", "customer_xy", "terminal_ids"]
)
def test_hash_sees_every_column(small_transactions: Transactions, column: str) -> None:
    changed = getattr(small_transactions, column).copy()
    changed[-1] = 1 - changed[-1]
    other = replace(small_transactions, **{column: changed})
    assert other.data_hash() != small_transactions.data_hash()


def test_hash_depends_on_values_not_on_storage(small_transactions: Transactions) -> None:
    names = [f"card {i}" for i in small_transactions.customer_ids]
    narrow = replace(small_transactions, customer_ids=np.array(names, np.str_))
    wide = replace(small_transactions, customer_ids=np.array(names, "U40"))
    assert narrow.data_hash() == wide.data_hash()
    swapped = small_transactions.amount.astype(">f8")
    assert replace(small_transactions, amount=swapped).data_hash() == small_transactions.data_hash()
