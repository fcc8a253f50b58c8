from __future__ import annotations

import math
import time
from typing import Any

import pytest

from serve_app.errors import InvalidTimeoutError
from serve_app.terms import ANYBODY, Terms, check_timeout, read_terms, seconds_left

CLIENT = ("10.0.0.7", 4711)


@pytest.mark.parametrize(
    ("headers", "client", "caller"),
    [
        ({b"x-slimserve-caller": b"billing", b"x-forwarded-for": b"1.2.3.4"}, CLIENT, "billing"),
        ({b"x-forwarded-for": b"6.6.6.6, 1.2.3.4"}, CLIENT, "1.2.3.4"),
        ({}, CLIENT, "10.0.0.7"),
        ({}, None, ""),
        ({b"x-slimserve-caller": b"n" * 1000}, CLIENT, "n" * 128),
    ],
)
def test_a_caller_is_who_says_so_or_where_it_comes_from(
    headers: dict[bytes, bytes], client: Any, caller: str
) -> None:
    assert read_terms(headers, client, None, 0.0).caller == caller


def test_the_shorter_limit_holds_and_counts_from_the_start() -> None:
    header = {b"x-request-timeout-seconds": b"0.5"}
    assert read_terms({}, None, None, 100.0).deadline == math.inf
    assert read_terms({}, None, 0.25, 100.0).deadline == 100.25
    assert 100.4 < read_terms(header, None, None, 100.0).deadline < 100.5
    assert read_terms(header, None, 0.25, 100.0).deadline == 100.25
    assert read_terms(header, None, 9.0, 100.0).deadline < 100.5


@pytest.mark.parametrize(("header", "kept_seconds"), [(b"0.05", 0.005), (b"0.5", 0.02)])
def test_a_tenth_of_the_header_s_limit_is_kept_for_the_way_back_and_20_ms_at_most(
    header: bytes, kept_seconds: float
) -> None:
    terms = read_terms({b"x-request-timeout-seconds": header}, None, None, 100.0)
    assert terms.deadline == pytest.approx(100.0 + float(header) - kept_seconds, abs=1e-9)


@pytest.mark.parametrize(
    "value", ["", "soon", "nan", "inf", "0", "-1", 0, -0.5, math.nan, math.inf, True, None, [1]]
)
def test_what_is_no_time_limit_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidTimeoutError, match=r"^n: expected seconds above 0, given"):
        check_timeout(value, "n")


@pytest.mark.parametrize("value", ["1e-3", 0.001, "0.001"])
def test_numbers_are_numbers(value: object) -> None:
    assert check_timeout(value, "n") == 0.001


def test_what_is_left_is_never_below_zero() -> None:
    assert seconds_left(ANYBODY) == math.inf
    assert seconds_left(Terms("", time.perf_counter() - 1)) == 0.0
    assert 0 < seconds_left(Terms("", time.perf_counter() + 60)) <= 60
