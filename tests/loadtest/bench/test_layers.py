"""What lies around the application is found by difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.bench.contenders import INLINE, PROXIED, Field
from loadtest.bench.layers import Figures, Layer, _layer, _ways
from loadtest.bench.options import BenchOptions
from loadtest.processes import replica_ports
from tests.support.store import MODEL, build_store


def test_each_way_is_held_against_the_one_inside_it(tmp_path: Path) -> None:
    store = Path(build_store(tmp_path / "store"))
    options = BenchOptions(store=store, model=MODEL, variant="close", out=tmp_path)
    served, proxied = (Field(options).server(name) for name in (INLINE, PROXIED))
    ways = _ways(served, served, proxied, "http://127.0.0.1:30001")
    places = [way.contender.url.partition("/v2/")[0] for way in ways[1:5]]
    replica = "http://127.0.0.1:30001"
    assert places == ["http://127.0.0.1:8080", replica, replica, "http://127.0.0.1:8000"]
    milliseconds = (0.3, 0.35, 0.5, 0.4, 0.7, 0.55)
    p50: Figures = {way.name: [ms / 1e3] * 5 for way, ms in zip(ways, milliseconds, strict=True)}
    rates: Figures = {way.name: [1000.0 / (n + 1)] * 5 for n, way in enumerate(ways)}
    layers: list[Layer] = [_layer(way, p50, rates) for way in ways]
    added = [layer.adds_microseconds for layer in layers[1:]]
    assert added == pytest.approx([50.0, 200.0, 100.0, 200.0, 150.0])
    assert layers[0].adds_microseconds is None
    share = layers[1].rate_to_plain
    assert share is not None
    assert share.value == pytest.approx(0.5)


def test_nobody_listens_behind_a_free_port() -> None:
    assert replica_ports(1) == []
