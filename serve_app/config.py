"""The application's configuration: `args` in deploy/serve.yaml. Frozen; unknown keys are errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from compression.store.manifest import Name
from serve_app.errors import ConfigError
from serve_app.routing.table import TableDraft

Placement = Literal["inline", "deployment"]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VariantConfig(_Config):
    """How one variant is served."""

    name: Name
    placement: Placement = "inline"
    """`inline`: inside every gateway replica; `deployment`: replicas of its own."""
    num_replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 0.5
    num_gpus: NonNegativeFloat = 0.0
    """Replicas, CPUs and GPUs of a `deployment`; an inline variant uses the gateway's."""
    max_batch_rows: PositiveInt = 64
    max_queued_rows: PositiveInt = 256
    """Rows that may wait for the inference that is running; beyond it callers get 429."""
    timeout_seconds: PositiveFloat = 2.0
    """How long a gateway waits for a `deployment` before it counts as unavailable; longer than a
    full queue takes: 256 rows of 5 ms are 1.3 s."""
    intra_op_threads: PositiveInt = 1
    allow_failed_gate: bool = False
    """Let a routing table give weight to it although it failed the quality gate. A variant
    that failed can always be pinned, for tests and load tests."""


class GatewayConfig(_Config):
    """The replicas that speak HTTP."""

    num_replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 0.5
    max_ongoing_requests: PositiveInt = 512
    """Requests of a replica at once, whatever they wait for; beyond it callers get 429, from
    HAProxy where `python -m serve_app up` started it. 512 of 2,000 a second wait 0.26 s."""


class LimitsConfig(_Config):
    """What one request may be."""

    max_body_bytes: PositiveInt = 4 << 20
    """1,024 rows of 130 floats are 2.7 MB in JSON with all their digits, 0.5 MB in bytes."""
    body_timeout_seconds: PositiveFloat = 10.0
    """How long a client may take to send its body."""
    max_rows: PositiveInt = 1024


class ShadowConfig(_Config):
    """Shadows are dropped, and counted, rather than delay anybody."""

    max_queued_rows: PositiveInt = 256
    max_concurrent: PositiveInt = 1


def default_state_dir() -> str:
    """`$XDG_STATE_HOME/slimserve`, by default `~/.local/state/slimserve`."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(base) / "slimserve")


class AppConfig(_Config):
    """Everything `serve_app:app` can be told."""

    store: str
    """Folder or fsspec URI of the model store."""
    model: Name
    variants: tuple[VariantConfig, ...] = ()
    """Empty: all published variants, inline; one that needs torch as a deployment."""
    table: TableDraft | None = None
    """Routing table to begin with; by default everything goes to the champion. A table that
    was changed at run time is kept in `state_dir` and wins over this one."""
    gateway: GatewayConfig = GatewayConfig()
    limits: LimitsConfig = LimitsConfig()
    shadow: ShadowConfig = ShadowConfig()
    state_dir: str = Field(default_factory=default_state_dir)
    admin_token_env: Annotated[str, Field(min_length=1)] = "SLIMSERVE_ADMIN_TOKEN"
    """Environment variable that holds the token for PUT …/routing. Unset: PUT is refused."""


def parse_config(args: Mapping[str, Any] | AppConfig) -> AppConfig:
    """Check `args`.

    Raises:
        ConfigError: naming each key that is unknown, missing or wrong.
    """
    if isinstance(args, AppConfig):
        return args
    try:
        return AppConfig.model_validate(dict(args))
    except ValidationError as error:
        raise ConfigError(f"configuration: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """One line for a person: each problem with the key it is at."""
    parts = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "document"
        what = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        parts.append(f"{where}: {what}")
    return "; ".join(parts)
