"""Fronts, ranks, and how far a chain is from its targets."""

from __future__ import annotations

import pytest

from compression.search.config import Limits
from compression.search.examined import dominates, excesses, front, ranks, shortfall
from tests.compression.search.made_up import examined


def test_one_dominates_that_is_nowhere_worse_and_somewhere_better() -> None:
    base = examined("base", 0.98, 10, 1000)
    assert dominates(examined("better", 0.99, 10, 1000), base)
    assert dominates(examined("faster", 0.98, 11, 1000), base)
    assert dominates(examined("smaller", 0.98, 10, 999), base)
    assert not dominates(examined("twin", 0.98, 10, 1000), base)
    assert not dominates(examined("trade", 0.99, 9, 1000), base)


def test_the_front_has_every_trade_and_nothing_dominated() -> None:
    all_ = [
        examined("exact", 1.0, 1, 9000),
        examined("middle", 0.99, 5, 3000),
        examined("dominated", 0.98, 4, 3500),
        examined("tiny", 0.9, 50, 100),
        examined("small-but-slow", 0.95, 2, 90),
    ]
    assert [one.plan.name for one in front(all_)] == ["tiny", "middle", "small-but-slow", "exact"]
    assert ranks(all_) == {"tiny": 0, "middle": 0, "small-but-slow": 0, "exact": 0, "dominated": 1}


def test_ranks_peel_front_after_front() -> None:
    all_ = [examined(f"m{n}", 0.9 + n / 100, 1 + n, 1000 - n) for n in range(4)]
    assert ranks(all_) == {"m3": 0, "m2": 1, "m1": 2, "m0": 3}


def test_excesses_name_what_is_missed_with_both_figures() -> None:
    limits = Limits(max_ap_loss=0.01, p99_ms=1.0, max_bytes=5000)
    assert excesses(examined("fine", 0.991, 2, 5000), limits) == ()
    missed = excesses(examined("bad", 0.97, 1, 12_000), limits)
    assert [str(one) for one in missed] == [
        "loss of average precision 0.03 > 0.01", "p99 in ms 2 > 1", "bytes 12,000 > 5,000",
    ]  # fmt: skip
    assert excesses(examined("bad", 0.1, 0.1, 10**9), Limits()) == ()


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_nearer_is_less_short(loss: float) -> None:
    limits = Limits(max_ap_loss=loss, max_bytes=1000)
    sizes = [shortfall(examined("m", 1.0, 1, size), limits) for size in (900, 1001, 2000, 9000)]
    assert sizes[0] == 0
    assert sizes == sorted(sizes)
    worse = [shortfall(examined("m", kept), limits) for kept in (1.0, 0.98, 0.9)]
    assert worse[0] == 0 < worse[1] < worse[2]
