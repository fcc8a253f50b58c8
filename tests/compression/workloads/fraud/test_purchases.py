import numpy as np

from compression.workloads.fraud.purchases import Purchases


def _purchases(times: list[int], first_customer: int = 0) -> Purchases:
    n = len(times)
    return Purchases(
        customer=np.arange(first_customer, first_customer + n),
        terminal=np.zeros(n, np.int64),
        time_s=np.array(times),
        amount=np.ones(n),
        scenario=np.zeros(n, np.int8),
    )


def test_time_order_keeps_ties_in_place() -> None:
    ordered = _purchases([90_000, 5, 90_000, 1]).in_time_order()
    assert ordered.customer.tolist() == [3, 1, 0, 2]
    assert ordered.day.tolist() == [0, 0, 1, 1]


def test_joined_keeps_all_rows_and_types() -> None:
    joined = Purchases.joined([_purchases([1, 2]), _purchases([0], first_customer=7)])
    assert len(joined) == 3
    assert joined.customer.tolist() == [0, 1, 7]
    assert joined.scenario.dtype == np.int8
