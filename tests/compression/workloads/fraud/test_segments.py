import numpy as np

from compression.workloads.fraud.features import FraudFeatures
from compression.workloads.fraud.segments import amount_edges, fraud_segments
from compression.workloads.fraud.transactions import Transactions
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.segmented import segments_of


def test_every_row_is_in_one_segment_of_each_kind(tiny_workload: FraudWorkload) -> None:
    rows = tiny_workload.test
    found = segments_of(tiny_workload, rows)
    assert list(found) == ["amount", "terminal risk", "earlier transactions"]
    for division in found.values():
        assert division.codes.shape == rows.shape
        assert 0 <= division.codes.min() <= division.codes.max() < len(division.names)
        assert len(np.unique(division.codes)) > 2


def test_bands_say_what_is_in_them(tiny_workload: FraudWorkload) -> None:
    rows = tiny_workload.test
    amounts = tiny_workload.transactions.amount[rows]
    division = tiny_workload.segments(rows)["amount"]
    first, last = division.names[0], division.names[-1]
    assert amounts[division.codes == 0].max() <= float(first.removeprefix("up to "))
    highest = division.codes == len(division.names) - 1
    assert amounts[highest].min() > float(last.removeprefix("over "))


def test_amount_bands_fit_any_currency() -> None:
    amounts = np.arange(1, 101, dtype=np.float64)
    assert amount_edges(amounts) == (26.0, 50.0, 75.0, 95.0)
    assert amount_edges(amounts * 1000) == (26_000.0, 50_000.0, 75_000.0, 95_000.0)
    assert amount_edges(np.full(9, 5.0)) == (5.0,)


def test_risk_and_history_bands() -> None:
    found = fraud_segments(
        np.full(4, 3.0), (5.0,), np.array([0.0, 0.01, 0.1, 1.0]), np.array([0, 7, 8, 9999])
    )
    named = {
        kind: [division.names[code] for code in division.codes] for kind, division in found.items()
    }
    assert named["terminal risk"] == ["no known fraud", "up to 2 %", "2 to 10 %", "over 10 %"]
    assert named["earlier transactions"] == ["up to 7", "up to 7", "8 to 31", "512 or more"]


def test_earlier_transactions_are_the_customer_s_own(
    small_features: FraudFeatures, small_transactions: Transactions
) -> None:
    row = len(small_transactions) - 1
    before = int((small_transactions.customer[:row] == small_transactions.customer[row]).sum())
    assert small_features.earlier(np.array([row])).tolist() == [before]


def test_a_workload_without_segments_has_none(tiny_workload: FraudWorkload) -> None:
    class Plain:
        """Offers what every workload does, and no segments."""

    plain: FraudWorkload = Plain()  # type: ignore[assignment]
    assert segments_of(plain, np.arange(3)) == {}
