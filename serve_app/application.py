"""The application builder: `serve run deploy/serve.yaml`, or `serve run serve_app:app store=…`.

    Gateway (ingress, raw ASGI) ── handles ──> Controller (1 replica)
                                          └──> one ModelServer deployment per variant of its own

Everything that can be wrong with the configuration is found here, before anything starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig

from compression.store import ModelDocument, ModelStore, StoreError
from serve_app.backends.deployment import ModelServer
from serve_app.catalogue import Catalogue, Entry, read_entry
from serve_app.config import AppConfig, AutoscalingConfig, VariantConfig, parse_config
from serve_app.controller import CONTROLLER, GATEWAY, Controller
from serve_app.errors import ConfigError, InvalidTableError, UnloadableError
from serve_app.gateway.replica import Gateway
from serve_app.routing.table import TableDraft, check_variants
from serve_app.sizes import MOST_QUEUED_ROWS

_LOGGING = LoggingConfig(enable_access_log=False, log_level="INFO")
_SURGE_PERCENT = 20
"""Of the gateways, rounded up: as many as Ray Serve replaces at a time start before others stop."""


@dataclass(frozen=True)
class Plan:
    """A configuration that fits the store: every served variant named, the table checked."""

    config: AppConfig
    document: ModelDocument
    catalogue: Catalogue
    table: TableDraft


def app(args: Mapping[str, Any] | AppConfig) -> serve.Application:
    """Build the application.

    Raises:
        ConfigError: unknown keys or variants, an impossible table.
        StoreError: the store is missing, empty or corrupt.
    """
    plan = make_plan(parse_config(args))
    config, document, catalogue = plan.config, plan.document, plan.catalogue
    controller = _deployment(
        Controller, CONTROLLER, num_cpus=0.0, max_ongoing_requests=1000,
    ).bind(config.store, document, catalogue, plan.table, config.state_dir)  # fmt: skip
    models = {
        entry.name: _model_deployment(entry.config).bind(
            config.store, config.model, entry.config, entry.manifest
        )
        for entry in catalogue.entries
        if entry.config.placement == "deployment"
    }
    gateway = _deployment(
        Gateway,
        GATEWAY,
        num_replicas=config.gateway.num_replicas,
        num_cpus=config.gateway.num_cpus,
        max_ongoing_requests=config.gateway.max_ongoing_requests,
        max_queued_requests=config.gateway.max_ongoing_requests,
        # With one gateway nobody would listen at the data port while it is replaced.
        max_surge_percent=_SURGE_PERCENT,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
    )
    return gateway.bind(config, controller, models, document, catalogue)


def make_plan(config: AppConfig) -> Plan:
    """Hold the configuration against the store, and verify what will be served, hashes included.

    Raises:
        ConfigError: it names variants that are not there, or the champion is not served.
        StoreError: the store or a variant is missing or corrupt.
    """
    config = config.model_copy(update={"store": _absolute(config.store)})
    store = ModelStore(config.store)
    document = store.model(config.model)
    store.samples(config.model)
    published = store.variants(config.model)
    if not published:
        raise StoreError(f"model {config.model!r} in {config.store} has no published variant")
    variants = config.variants or _all_variants(store, config.model, published)
    entries = tuple(_entry(store, config.model, variant, published) for variant in variants)
    _check_names(variants, document)
    catalogue = Catalogue(entries=entries)
    table = config.table or TableDraft(weights={document.champion: 1.0})
    try:
        check_variants(table, catalogue.names, catalogue.weightable)
    except InvalidTableError as error:
        raise ConfigError(f"configuration: table: {error}") from error
    return Plan(config.model_copy(update={"variants": variants}), document, catalogue, table)


def _entry(
    store: ModelStore, model: str, variant: VariantConfig, published: tuple[str, ...]
) -> Entry:
    if variant.name not in published:
        raise ConfigError(
            f"configuration: variants: {variant.name!r} is not published, expected some of "
            f"{', '.join(published)}"
        )
    try:
        return read_entry(store, model, variant)
    except UnloadableError as error:
        raise ConfigError(str(error)) from error


def _check_names(variants: tuple[VariantConfig, ...], document: ModelDocument) -> None:
    names = [variant.name for variant in variants]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"configuration: variants: {doubled} are given twice")
    if document.champion not in names:
        raise ConfigError(
            f"configuration: variants: the champion {document.champion!r} is not among them, and "
            "every failure of a variant falls back to it"
        )


def _all_variants(
    store: ModelStore, model: str, published: tuple[str, ...]
) -> tuple[VariantConfig, ...]:
    """Inline, but one that needs torch on its own: gateways must not pay for importing it."""
    return tuple(
        VariantConfig(
            name=name,
            placement="deployment"
            if store.manifest(model, name).runtime.engine == "torch"
            else "inline",
        )
        for name in published
    )


def _model_deployment(variant: VariantConfig) -> serve.Deployment:
    options: dict[str, Any] = {"num_replicas": variant.num_replicas}
    if variant.autoscaling is not None:
        options = {"autoscaling_config": _autoscaling(variant.autoscaling)}
    if variant.max_ongoing_requests is not None:
        # Calls that no replica takes wait in the gateway, and that queue needs a bound too.
        options["max_queued_requests"] = variant.max_queued_rows or MOST_QUEUED_ROWS
    return _deployment(
        ModelServer,
        variant.name,
        num_cpus=variant.num_cpus,
        num_gpus=variant.num_gpus,
        # Our queues are counted in rows and answer 429; by default Ray's only stays out of the way.
        max_ongoing_requests=variant.most_ongoing_requests,
        **options,
    )


def _autoscaling(config: AutoscalingConfig) -> dict[str, Any]:
    """As Ray Serve spells it."""
    return {
        "min_replicas": config.min_replicas,
        "max_replicas": config.max_replicas,
        "target_ongoing_requests": config.target_ongoing_requests,
        "upscale_delay_s": config.upscale_delay_seconds,
        "downscale_delay_s": config.downscale_delay_seconds,
    }


def _deployment(
    cls: type[Any], name: str, *, num_cpus: float, num_gpus: float = 0.0, **options: Any
) -> serve.Deployment:
    configured: serve.Deployment = serve.deployment(
        name=name,
        ray_actor_options={"num_cpus": num_cpus, "num_gpus": num_gpus},
        logging_config=_LOGGING,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=5.0,
        **options,
    )(cls)
    return configured


def _absolute(uri: str) -> str:
    """Replicas have working directories of their own; a relative folder is ours."""
    return uri if "://" in uri else str(Path(os.path.expanduser(uri)).resolve())
