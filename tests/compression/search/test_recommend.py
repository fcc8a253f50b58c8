"""Which variant is recommended, and the words for it."""

from __future__ import annotations

from compression.search.config import Limits
from compression.search.recommend import recommend
from tests.compression.search.made_up import examined

LIMITS = Limits(max_ap_loss=0.01, p99_ms=1.0, max_bytes=5000)


def test_the_fastest_that_meets_all_targets() -> None:
    chosen = recommend(
        [
            examined("too-coarse", 0.9, 99, 100),
            examined("quick", 0.995, 10, 900),
            examined("slower", 0.999, 5, 950),
        ],
        LIMITS,
    )
    assert chosen.name == "quick"
    assert "quick on validation rows keeps 99.50 %" in chosen.reason
    assert "(at least 99.00 % wanted)" in chosen.reason
    assert "0.2 ms at p99 (at most 1 wanted)" in chosen.reason
    assert "900 bytes (at most 5,000 wanted)" in chosen.reason
    assert "the fastest of 2 on the front that meet the targets" in chosen.reason


def test_one_that_passes_the_gate_is_preferred() -> None:
    quick = examined("quick", 0.995, 10, 900, gate="failed")
    chosen = recommend([quick, examined("sure", 0.995, 5, 800)], LIMITS)
    assert chosen.name == "sure"
    assert "the fastest of 1 on the front that meet the targets and pass the gate" in chosen.reason
    alone = recommend([quick], LIMITS)
    assert alone.name == "quick"
    assert "none of which passes the recipe's gate" in alone.reason


def test_where_nobody_meets_the_targets_the_nearest_is_named() -> None:
    chosen = recommend([examined("far", 0.5, 99, 100), examined("near", 0.98, 10, 6000)], LIMITS)
    assert (chosen.name, chosen.nearest) == (None, "near")
    assert chosen.reason == (
        "no variant meets the targets; nearest is near, misses "
        "loss of average precision 0.02 > 0.01; bytes 6,000 > 5,000"
    )
