"""The application's configuration: `args` in deploy/serve.yaml. Frozen; unknown keys are errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from compression.store.manifest import Name
from serve_app.errors import ConfigError
from serve_app.routing.table import TableDraft
from serve_app.sizes import MOST_BATCH_ROWS, MOST_QUEUED_ROWS

Placement = Literal["inline", "deployment"]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AutoscalingConfig(_Config):
    """Replicas of a `deployment` that follow the load.

    Ray Serve hears of it every 10 s and takes the mean of the last 30 s; delays come on top.
    """

    min_replicas: PositiveInt = 1
    """Never none: a request does not wait for a process to start."""
    max_replicas: PositiveInt
    target_ongoing_requests: PositiveFloat = 16.0
    """Requests per replica, waiting or computed, that are aimed at; each is a call of its own."""
    upscale_delay_seconds: NonNegativeFloat = 10.0
    downscale_delay_seconds: NonNegativeFloat = 300.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas: expected at least min_replicas, {self.min_replicas}, "
                f"given {self.max_replicas}"
            )
        return self


class VariantConfig(_Config):
    """How one variant is served."""

    name: Name
    placement: Placement = "inline"
    """`inline`: inside every gateway replica; `deployment`: replicas of its own."""
    num_replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 0.5
    num_gpus: NonNegativeFloat = 0.0
    """Replicas, CPUs and GPUs of a `deployment`; an inline variant uses the gateway's."""
    autoscaling: AutoscalingConfig | None = None
    """Of a `deployment`, instead of `num_replicas`. Each request is a call of its own then: Ray
    Serve counts calls, and where small requests share them (`backends/grouping.py`) it would not
    see the load."""
    max_ongoing_requests: PositiveInt | None = None
    """Calls that a replica of a `deployment` takes at a time, each of one request, or of several
    small ones. By default as many as requests may wait and be computed; if it is less, a gateway
    lets `max_queued_rows` more calls wait."""
    max_batch_rows: PositiveInt | None = None
    """By default 64, or as many as take about a millisecond, at most 1,024: see `sizes.py`."""
    max_queued_rows: PositiveInt | None = None
    """Rows that may wait for the inference that is running; beyond it callers get 429. By default
    256, or as many as take a quarter of `timeout_seconds`, at most 4,096. Of a `deployment` so many
    may wait in each replica and, to be sent, in each gateway."""
    timeout_seconds: PositiveFloat = 2.0
    """How long a request may take, callers may shorten it; longer than a full queue takes: 256 rows
    of 5 ms are 1.3 s. A `deployment` that says nothing for that long counts as unavailable."""
    intra_op_threads: PositiveInt = 1
    allow_failed_gate: bool = False
    """Let a routing table give weight to it although it failed the quality gate. A variant
    that failed can always be pinned, for tests and load tests."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("autoscaling", "max_ongoing_requests"):
            if self.placement == "inline" and getattr(self, key) is not None:
                raise ValueError(f"{key}: an inline variant has none, expected with deployment")
        # By value: what was written to a catalogue and is read again has every field set.
        if self.autoscaling is not None and self.num_replicas != 1:
            raise ValueError("num_replicas: given beside autoscaling, expected one of the two")
        target = self.autoscaling.target_ongoing_requests if self.autoscaling else 0.0
        if target > self.most_ongoing_requests:
            raise ValueError(
                "autoscaling.target_ongoing_requests: expected at most "
                f"{self.most_ongoing_requests}, what a replica takes, given {target:g}"
            )
        return self

    @property
    def most_ongoing_requests(self) -> int:
        """Calls that a replica takes at a time, configured or by default."""
        if self.max_ongoing_requests is not None:
            return self.max_ongoing_requests
        return (self.max_queued_rows or MOST_QUEUED_ROWS) + (self.max_batch_rows or MOST_BATCH_ROWS)


class DataPortConfig(_Config):
    """A port of the gateways' own: the same application, without a proxy in front."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Gateways on one machine share it."""
    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"
    """Address to listen at; `::` is all of the machine's, IPv6 and IPv4."""
    max_connections: PositiveInt = 8192
    """Of a gateway. Beyond it clients wait until another's connection is closed or idle."""
    keep_alive_seconds: PositiveFloat = 75.0
    max_wait_seconds: PositiveFloat = 0.6
    """A request that would wait longer than that for its turn, as fast as they come up now, gets
    429 at once."""
    rest_seconds: NonNegativeFloat = 1.0
    """A client that got 429 and asks again at once is not read for at most so long; 0: it is. For
    a proxy in front, that sends requests of many clients over one connection, it should be 0."""


class GatewayConfig(_Config):
    """The replicas that speak HTTP."""

    num_replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 0.5
    max_ongoing_requests: PositiveInt = 512
    """Requests of a replica at once, whatever they wait for; beyond it callers get 429, from
    HAProxy where `python -m serve_app up` started it. 512 of 2,000 a second wait 0.26 s. At the
    data port those beyond it wait for their turn, but for GET: health and metrics."""
    cores: tuple[NonNegativeInt, ...] = ()
    """CPU cores that gateways keep to, as they are numbered on every node, and that nothing else
    uses that `python -m serve_app up` starts; none: any."""
    data_port: DataPortConfig | None = None


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
