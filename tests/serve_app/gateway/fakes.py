"""Backends and a control plane that do as they are told, and a gateway over them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from compression.store import Manifest
from serve_app.batching import Computed
from serve_app.config import AppConfig, LimitsConfig, ShadowConfig
from serve_app.gateway.app import GatewayApp
from serve_app.gateway.control import Changed
from serve_app.gateway.predict import Predictor
from serve_app.gateway.served import Served
from serve_app.gateway.shadow import Shadows
from serve_app.metrics import Families, GatewayMetrics, render
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import RoutingTable
from serve_app.runners import Arrays
from tests.support.store import CHAMPION, MODEL, make_document, make_manifest

TOKEN = "secret"
VARIANTS = (CHAMPION, "close", "poor")


class FakeBackend:
    """Answers `score` for every row, or raises `error`; waits for `gate` if it has one."""

    placement = "inline"

    def __init__(self, score: float) -> None:
        self.score = score
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.calls = 0
        self.is_ready = True

    async def infer(self, inputs: Arrays, rows: int) -> Computed:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Computed({"score": np.full(rows, self.score, np.float32)}, 0.001, 0.002)

    async def ready(self) -> bool:
        return self.is_ready

    async def describe(self) -> dict[str, str]:
        return {"platform": "fake", "detail": "nothing"}

    async def retire(self) -> None:
        """Nothing is held."""


class FakeControl:
    """Records changes and replies with `reply`."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self.changes: list[tuple[dict[str, Any], int]] = []
        self.reply: Changed = {"outcome": "changed", "table": {"version": 2}}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.store: dict[str, Manifest] | Exception = {}
        self._metrics = metrics

    async def change_table(self, draft: dict[str, Any], replaces: int) -> Changed:
        self.changes.append((draft, replaces))
        return self.reply

    async def load_variant(self, name: str, options: Mapping[str, Any]) -> Changed:
        self.asked.append(("load", name, dict(options)))
        return self.reply

    async def unload_variant(self, name: str) -> Changed:
        self.asked.append(("unload", name, {}))
        return self.reply

    async def published(self) -> dict[str, Manifest]:
        if isinstance(self.store, Exception):
            raise self.store
        return self.store

    async def gather_metrics(self) -> list[Families]:
        return [self._metrics.families()]


class Gateway:
    """A gateway over fakes. Call `start()` to let its shadows work."""

    def __init__(self, token: str | None = TOKEN, shadow: ShadowConfig | None = None) -> None:
        config = AppConfig(
            store="nowhere",
            model=MODEL,
            limits=LimitsConfig(max_rows=8, max_body_bytes=4096),
            shadow=shadow or ShadowConfig(),
        )
        self.metrics = GatewayMetrics(MODEL, VARIANTS, "gateway-1")
        self.backends = {name: FakeBackend(0.4 + 0.2 * i) for i, name in enumerate(VARIANTS)}
        self.predictor = Predictor(self.backends, CHAMPION, "score", self.metrics)
        thresholds = dict.fromkeys(VARIANTS, 0.5)
        self.shadows = Shadows(self.backends, thresholds, "score", self.metrics, config.shadow)
        self.control = FakeControl(self.metrics)
        manifests = {
            name: make_manifest(name, b"", [], verdict="failed" if name == "poor" else "passed")
            for name in VARIANTS
        }
        self.served = Served(make_document(), manifests, frozenset({CHAMPION, "close"}))
        self.app = GatewayApp(
            config, self.served, self.predictor, self.shadows, self.metrics, self.control, token
        )

    def route(self, weights: dict[str, float], version: int = 1, **more: Any) -> None:
        """Put a table in force."""
        table = RoutingTable.model_validate(
            {"version": version, "model": MODEL, "weights": weights, **more}
        )
        self.predictor.use(Assignment(table, CHAMPION))

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 labels match anything."""
        for _, _, _, samples in self.metrics.families():
            for sample_name, sample_labels, value in samples:
                if sample_name == f"slimserve_{name}" and labels.items() <= sample_labels.items():
                    return value
        raise AssertionError(f"{name} {labels} not in {render([self.metrics.families()])!r}")
