"""What is exposed is what prometheus_client itself would expose."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from serve_app import instruments

BUCKETS = (0.001, 0.01, 0.1, 1.0, 5)
VALUES = st.lists(
    st.floats(min_value=0, max_value=100, allow_nan=False) | st.sampled_from(BUCKETS), max_size=20
)


def _exposed(module: ModuleType, values: list[float]) -> bytes:
    kinds: Any = module
    registry = CollectorRegistry(auto_describe=False)
    counter = kinds.Counter("x_total", "Counted", ("model", "why"), registry=registry)
    gauge = kinds.Gauge("g", "Gauged", ("model",), registry=registry)
    histogram = kinds.Histogram("h", "Seen", ("model",), registry=registry, buckets=BUCKETS)
    counter.labels("m", "never")
    for value in values:
        counter.labels("m", "pin").inc(value)
        gauge.labels("m").inc(value)
        gauge.labels("m").dec()
        histogram.labels("m").observe(value)
    counter.labels("m", "pin").inc()
    gauge.labels("other").set(3)
    gauge.labels("gone").set(1)
    gauge.remove("gone")
    lines = generate_latest(registry).split(b"\n")
    return b"\n".join(line for line in lines if b"_created" not in line)


@given(values=VALUES)
def test_exposition_is_prometheus_clients_own(values: list[float]) -> None:
    assert _exposed(instruments, values) == _exposed(prometheus_client, values)


def test_a_child_is_made_once_and_needs_all_labels() -> None:
    registry = CollectorRegistry(auto_describe=False)
    counter = instruments.Counter("x_total", "Counted", ("a", "b"), registry=registry)
    assert counter.labels("1", "2") is counter.labels("1", "2")
    assert counter.labels("1", "2") is not counter.labels("1", "3")
    with pytest.raises(ValueError, match=r"x_total: expected \('a', 'b'\), given \('1',\)"):
        counter.labels("1")
