"""Backends and a control plane that do as they are told, and a gateway over them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from compression.store import Manifest
from serve_app.batching import Computed
from serve_app.catalogue import Catalogue, Entry, read_manifests
from serve_app.config import AppConfig, LimitsConfig, ShadowConfig, VariantConfig
from serve_app.gateway.app import GatewayApp
from serve_app.gateway.control import Changed
from serve_app.gateway.discovery import NO_PORTS, Ports
from serve_app.gateway.predict import Predictor
from serve_app.gateway.served import Served
from serve_app.gateway.shadow import Shadows
from serve_app.metrics import Families, GatewayMetrics, render
from serve_app.openapi.example import Example
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import RoutingTable
from serve_app.runners import Arrays
from serve_app.statistics import VariantStatistics
from serve_app.terms import ANYBODY, Terms
from tests.support.store import CHAMPION, MODEL, make_document, make_manifest, make_samples

TOKEN = "secret"
VARIANTS = (CHAMPION, "close", "poor")


def example() -> Example:
    """The tiny store's first sample."""
    samples = make_samples()
    return Example(samples.rows(0, 1), str(samples.routing_keys[0]))


def catalogue_of(manifests: Mapping[str, Manifest], version: int = 1) -> Catalogue:
    """These variants, configured by default."""
    entries = [
        Entry(config=VariantConfig(name=name), manifest=manifest)
        for name, manifest in manifests.items()
    ]
    return Catalogue(version=version, entries=tuple(entries))


class FakeBackend:
    """Answers `score` for every row, or raises `error`; waits for `gate` if it has one."""

    placement = "inline"

    def __init__(self, score: float) -> None:
        self.score = score
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.calls = 0
        self.terms = ANYBODY
        self.is_ready = True

    async def infer(self, inputs: Arrays, rows: int, terms: Terms = ANYBODY) -> Computed:
        self.calls += 1
        self.terms = terms
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

    def __init__(self, metrics: GatewayMetrics, store_uri: str) -> None:
        self.changes: list[tuple[dict[str, Any], int]] = []
        self.reply: Changed = {"outcome": "changed", "table": {"version": 2}}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.store: dict[str, Manifest] | Exception | None = None
        """What is published; None: what the store at `store_uri` has."""
        self._metrics = metrics
        self._store_uri = store_uri

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
        if self.store is None:
            return read_manifests(self._store_uri, MODEL)
        return self.store

    async def gather_metrics(self) -> list[Families]:
        return [self._metrics.families()]

    async def gather_statistics(self) -> list[Mapping[str, VariantStatistics]]:
        return [self._metrics.statistics]


class Gateway:
    """A gateway over fakes. Call `start()` to let its shadows work."""

    def __init__(
        self,
        token: str | None = TOKEN,
        shadow: ShadowConfig | None = None,
        store: str = "nowhere",
        max_body_bytes: int = 4096,
        threshold: float = 0.5,
        ports: Ports = NO_PORTS,
    ) -> None:
        config = AppConfig(
            store=store,
            model=MODEL,
            limits=LimitsConfig(max_rows=8, max_body_bytes=max_body_bytes),
            shadow=shadow or ShadowConfig(),
        )
        self.metrics = GatewayMetrics(MODEL, VARIANTS, "gateway-1")
        self.backends = {name: FakeBackend(0.4 + 0.2 * i) for i, name in enumerate(VARIANTS)}
        self.thresholds = thresholds = dict.fromkeys(VARIANTS, threshold)
        self.predictor = Predictor(self.backends, thresholds, CHAMPION, "score", self.metrics)
        self.shadows = Shadows(self.backends, thresholds, "score", self.metrics, config.shadow)
        self.control = FakeControl(self.metrics, store)
        self.manifests = {
            name: make_manifest(
                name, b"", [0.25], threshold=threshold,
                verdict="failed" if name == "poor" else "passed",
            )
            for name in VARIANTS
        }  # fmt: skip
        self.served = Served(make_document())
        self.served.change(catalogue_of(self.manifests))
        self.app = GatewayApp(
            config, self.served, self.predictor, self.shadows, self.metrics, self.control, token,
            example(), ports,
        )  # fmt: skip

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
