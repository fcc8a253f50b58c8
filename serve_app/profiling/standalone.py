"""The gateway's application without Ray: one process, its variants inline, a table of its own.

    SLIMSERVE_STORE=out/demo/store SLIMSERVE_MODEL=fraud SLIMSERVE_VARIANT=distilled-int8 \\
        uvicorn --factory serve_app.profiling.standalone:from_environment

It is the application that a replica runs, for taking its time apart: what Ray and HAProxy add is
the difference to the served one. Nothing can be changed in it, and it is nothing to serve with.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from compression.store import Manifest, ModelStore
from serve_app.backends.base import Backend
from serve_app.backends.inline import InlineBackend
from serve_app.catalogue import Catalogue, Entry, read_manifests
from serve_app.config import AppConfig, VariantConfig
from serve_app.errors import NotConfirmedError
from serve_app.gateway.app import GatewayApp
from serve_app.gateway.control import Changed
from serve_app.gateway.predict import Predictor
from serve_app.gateway.served import Served
from serve_app.gateway.shadow import Shadows
from serve_app.metrics import Families, GatewayMetrics
from serve_app.openapi.example import Example
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import RoutingTable
from serve_app.runners import load_variant
from serve_app.statistics import VariantStatistics


class Alone:
    """`Control` of a gateway that has nobody else."""

    def __init__(self, metrics: GatewayMetrics, config: AppConfig) -> None:
        self._metrics = metrics
        self._config = config

    async def change_table(self, draft: dict[str, Any], replaces: int) -> Changed:
        """See `Control.change_table`: there is no controller to keep it."""
        raise NotConfirmedError("a gateway on its own keeps its table")

    async def load_variant(self, name: str, options: Mapping[str, Any]) -> Changed:
        """See `Control.load_variant`: there is no controller to keep it."""
        raise NotConfirmedError("a gateway on its own keeps its variant")

    async def unload_variant(self, name: str) -> Changed:
        """See `Control.unload_variant`: there is no controller to keep it."""
        raise NotConfirmedError("a gateway on its own keeps its variant")

    async def published(self) -> dict[str, Manifest]:
        """See `Control.published`."""
        return await asyncio.to_thread(read_manifests, self._config.store, self._config.model)

    async def gather_metrics(self) -> list[Families]:
        """See `Control.gather_metrics`."""
        return [self._metrics.families()]

    async def gather_statistics(self) -> list[Mapping[str, VariantStatistics]]:
        """See `Control.gather_statistics`."""
        return [self._metrics.statistics]


def build(store_uri: str, model: str, variant: str) -> GatewayApp:
    """The application with one variant, which is its champion and gets all traffic.

    Raises:
        StoreError, SelfCheckError: as the server would.
    """
    store = ModelStore(store_uri)
    config = AppConfig(store=store_uri, model=model, variants=(VariantConfig(name=variant),))
    document = store.model(model).model_copy(update={"champion": variant})
    metrics = GatewayMetrics(model, (variant,), "alone")
    loaded = load_variant(store, model, variant, config.variants[0].intra_op_threads)
    observer = metrics.batches(variant)
    backends: dict[str, Backend] = {variant: InlineBackend(loaded, config.variants[0], observer)}
    output = document.decision.output
    thresholds = {variant: loaded.manifest.decision_threshold}
    predictor = Predictor(backends, thresholds, variant, output, metrics)
    table = RoutingTable(model=model, version=1, weights={variant: 1.0})
    predictor.use(Assignment(table, variant))
    shadows = Shadows(backends, thresholds, output, metrics, config.shadow)
    served = Served(document)
    entry = Entry(config=config.variants[0], manifest=loaded.manifest)
    served.change(Catalogue(entries=(entry,)))
    example = Example.read(store, model)
    control = Alone(metrics, config)
    return GatewayApp(config, served, predictor, shadows, metrics, control, None, example)


def from_environment() -> GatewayApp:
    """Application factory for uvicorn; what is served stands in three variables."""
    names = ("SLIMSERVE_STORE", "SLIMSERVE_MODEL", "SLIMSERVE_VARIANT")
    store, model, variant = (os.environ[name] for name in names)
    return build(store, model, variant)
