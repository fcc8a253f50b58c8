"""Targets are judged on what was measured, and what was not measured is a miss."""

from __future__ import annotations

import pytest

from loadtest.bench.contenders import APART, BARE_ASGI, INLINE, LOOP
from loadtest.bench.results import (
    Case,
    Failure,
    Found,
    HalfRate,
    Judged,
    Overload,
    RatioRow,
    ratio_row,
)
from loadtest.bench.targets import Measured, judge, judge_all
from loadtest.saturate import Saturation


def _case(name: str, connections: int = 16, body: str = "json", rows: int = 1) -> Case:
    return Case(name=name, placement="none", body=body, rows=rows, connections=connections)


def _ratio(value: float, connections: int = 16) -> RatioRow:
    return _row(
        value, _case(INLINE, connections), _case(BARE_ASGI, connections), "requests_per_second"
    )


def _row(value: float, of: Case, to: Case, figure: str) -> RatioRow:
    return RatioRow(
        of=of,
        to=to,
        figure=figure,
        ratio=value,
        low=value - 0.1,
        high=value + 0.1,
        lowest=value - 0.2,
        highest=value + 0.2,
    )


def _overload(goodput_share: float, recovery_seconds: float | None, name: str = INLINE) -> Overload:
    return Overload(
        name=name,
        capacity_per_second=100.0,
        capacities_per_second=(90.0, 110.0),
        offered_per_second=300.0,
        goodput_per_second=100.0 * goodput_share,
        goodput_share=goodput_share,
        deadline_seconds=1.0,
        accepted_p50_seconds=0.1,
        accepted_p99_seconds=0.2,
        rejected_share=0.6,
        failed_share=0.0,
        dropped_share=0.0,
        statuses={"200": 1},
        memory_bytes=(1, 1),
        memory_growth=0.01,
        recovery_seconds=recovery_seconds,
        generator_cpu_share=0.1,
        lag_p99_seconds=0.001,
    )


def _judged(judged: tuple[Judged, ...], *words: str) -> Judged:
    (one,) = [one for one in judged if all(word in f"{one.name} {one.figure}" for word in words)]
    return one


def test_a_bound_is_the_least_or_the_most() -> None:
    least = judge("x", "f", "×", bound=2.0, at_least=True, value=1.5)
    most = judge("x", "f", "×", bound=2.0, at_least=False, value=1.5)
    assert not least.reached
    assert least.missed_by == pytest.approx(0.25)
    assert (most.reached, most.missed_by) == (True, None)
    assert not judge("x", "f", "×", bound=2.0, at_least=False, value=None).reached


def test_each_number_of_connections_is_judged_for_itself() -> None:
    judged = judge_all(Measured((_ratio(0.9, 16), _ratio(0.6, 64)), (), (), ()))
    assert _judged(judged, BARE_ASGI, "16 connections").reached
    missed = _judged(judged, BARE_ASGI, "64 connections")
    assert not missed.reached
    assert missed.missed_by == pytest.approx(0.25)
    assert [missed.low, missed.high] == pytest.approx([0.5, 0.7])


def test_binary_requests_are_held_against_the_loop_at_each_number_of_connections() -> None:
    loop = _case(LOOP, connections=1, body="arrays", rows=32)
    ratios = [
        _row(value, _case(INLINE, connections, "binary", 32), loop, "rows_per_second")
        for connections, value in ((16, 0.6), (64, 0.75))
    ]
    judged = judge_all(Measured(ratios, (), (), ()))
    assert not _judged(judged, LOOP, "16 connections", "rows_per_second").reached
    reached = _judged(judged, LOOP, "64 connections", "rows_per_second")
    assert (reached.reached, reached.value, reached.bound) == (True, 0.75, 0.7)


def test_nothing_measured_reaches_nothing() -> None:
    judged = judge_all(Measured((), (), (), ()))
    assert len(judged) == 16
    assert not any(one.reached for one in judged)
    assert all(one.value is None and one.note for one in judged)


def test_a_case_that_failed_says_why_in_its_target() -> None:
    failure = Failure(name=INLINE, body="binary", rows=32, message="answers 501: not supported")
    judged = judge_all(Measured((), (), (), (failure,)))
    for connections in (16, 64):
        note = _judged(judged, LOOP, f"{connections} connections").note
        assert note == "answers 501: not supported"
    assert _judged(judged, BARE_ASGI, "16 connections").note == "not measured"


def test_the_worst_overload_counts_and_one_without_recovery_is_a_miss() -> None:
    runs = (_overload(0.95, 0.5), _overload(0.91, 2.5), _overload(0.91, 1.0))
    recovery = _judged(judge_all(Measured((), (), runs, ())), "recovery")
    assert (recovery.value, recovery.reached) == (2.5, False)
    without = _judged(judge_all(Measured((), (), (*runs, _overload(0.95, None)), ())), "recovery")
    assert (without.value, without.reached) == (None, False)
    assert "one of the runs" in without.note


@pytest.mark.parametrize(
    ("shares", "middle", "reached"), [((0.8, 0.95, 0.91), 0.91, True), ((0.8, 0.95), 0.875, False)]
)
def test_the_median_goodput_counts_and_all_are_told(
    shares: tuple[float, ...], middle: float, *, reached: bool
) -> None:
    runs = [_overload(share, 0.5) for share in shares]
    goodput = _judged(judge_all(Measured((), (), runs, ())), "goodput")
    assert goodput.value == pytest.approx(middle)
    assert (goodput.reached, goodput.low, goodput.high) == (reached, min(shares), max(shares))


def _half_rate(name: str, p99_seconds: float, p50_seconds: float = 0.001) -> HalfRate:
    return HalfRate(
        name=name, round=0, rate_per_second=10.0, p50_seconds=p50_seconds, p99_seconds=p99_seconds,
        failed_share=0.0, faults=(),
    )  # fmt: skip


def test_the_tail_is_that_of_our_own_runs() -> None:
    runs = [_half_rate(INLINE, 0.005), _half_rate(BARE_ASGI, 0.1)]
    tail = _judged(judge_all(Measured((), runs, (), ())), "p99 to p50")
    assert tail.reached
    assert tail.value == pytest.approx(5.0)


def test_each_tail_is_held_against_the_median_of_the_same_run() -> None:
    runs = [
        _half_rate(INLINE, p99, p50) for p50, p99 in ((1e-3, 9e-3), (2e-3, 10e-3), (4e-3, 30e-3))
    ]
    tail = _judged(judge_all(Measured((), runs, (), ())), "p99 to p50")
    assert tail.value == pytest.approx(7.5)  # of 9, 5 and 7.5; of the medians it were 5


def test_who_is_apart_from_the_load_is_judged_for_himself() -> None:
    overloads = (_overload(0.8, 0.5), _overload(0.95, 0.5, APART), _overload(0.92, 0.5, APART))
    runs = [_half_rate(INLINE, 0.02), _half_rate(APART, 0.008)]
    judged = judge_all(Measured((), runs, overloads, ()))
    values = {
        (one.name.split(",")[0].split(" ")[0], one.figure): (one.value, one.reached)
        for one in judged
        if one.figure in ("goodput to capacity", "p99 to p50")
    }
    assert values == {
        (INLINE, "goodput to capacity"): (0.8, False),
        (APART, "goodput to capacity"): (pytest.approx(0.935), True),
        (INLINE, "p99 to p50"): (pytest.approx(20.0), False),
        (APART, "p99 to p50"): (pytest.approx(8.0), True),
    }


def _entry(rate: float) -> Saturation:
    return Saturation(
        client="own", connections=16, duration_seconds=1.0, requests_per_second=rate,
        p50_seconds=0.001, p99_seconds=0.002, ok=1, errors=0,
    )  # fmt: skip


def test_ratios_pair_the_rounds_that_both_have() -> None:
    ours, theirs = _case(INLINE), _case(BARE_ASGI)
    found: Found = {
        ours: [_entry(10.0), None, _entry(30.0)],
        theirs: [_entry(10.0), _entry(1.0), _entry(10.0)],
    }
    row = ratio_row(found, ours, theirs, "requests_per_second")
    assert row is not None
    assert (row.ratio, row.lowest, row.highest) == (2.0, 1.0, 3.0)
    assert row.low is None  # of fewer than five rounds an interval says nothing
    rows = ratio_row({ours: [_entry(2.0)] * 5, theirs: [_entry(1.0)] * 5}, ours, theirs,
                     "rows_per_second")  # fmt: skip
    assert rows is not None
    assert (rows.low, rows.high) == (2.0, 2.0)
    assert ratio_row(found, ours, _case(LOOP), "requests_per_second") is None
