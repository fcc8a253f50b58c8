"""All metrics and their names. One registry per replica; label sets are closed.

Children are bound once, when the replica begins to serve a variant: no request looks a label up.
Times are in seconds, buckets begin at 100 µs and have edges at the SLO of 50 ms, at half and at
twice of it.
`GET /metrics` on any gateway merges the samples of all replicas, each with a `replica` label, so
that one scrape sees the whole application and a restart never makes a counter go backwards.
"""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from serve_app.instruments import Counter, Gauge, Histogram
from serve_app.statistics import VariantStatistics

SLO_SECONDS = 0.05
SECONDS_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, SLO_SECONDS / 2, SLO_SECONDS,
    SLO_SECONDS * 2, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
DIFFERENCE_BUCKETS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

OUTCOMES = ("ok", "fallback", "invalid", "shed", "deadline", "error", "cancelled")
WHYS = ("pin", "weight", "random", "fallback")
PHASES = ("decode", "queue", "infer", "encode")
REJECTIONS = (
    "malformed", "invalid_input", "too_many_rows", "unknown_model", "unknown_variant",
    "unknown_path", "wrong_method", "body_too_large", "body_timeout", "encoded_body",
    "head_too_large", "unsupported", "invalid_timeout", "queue_full", "line_full", "deadline",
    "failed", "not_finite", "unavailable", "not_ready",
)  # fmt: skip
FALLBACKS = ("failed", "unavailable", "not_finite")
SHADOW_DROPS = ("queue_full", "shed", "failed", "unavailable")
NO_VARIANT = "none"
"""Label of a request that was refused before it had a variant."""

Sample = tuple[str, dict[str, str], float]
Families = list[tuple[str, str, str, list[Sample]]]
"""(name, help, type, samples) of each metric: plain data, to be sent between replicas."""


@dataclass(frozen=True)
class VariantMetrics:
    """The children of one variant, bound."""

    outcomes: dict[str, Counter]
    whys: dict[str, Counter]
    fallbacks: dict[str, Counter]
    request_seconds: Histogram
    phases: dict[str, Histogram]
    rows: Counter


@dataclass(frozen=True)
class ShadowMetrics:
    """The children of one shadow variant, bound."""

    rows: Counter
    flips: Counter
    dropped: dict[str, Counter]
    difference: Histogram


class BatchMetrics:
    """Observes the batches of one variant."""

    def __init__(self, histogram: Histogram, statistics: VariantStatistics) -> None:
        self._observe = histogram.observe
        self._execute = statistics.execute

    def batch(self, rows: int, seconds: float) -> None:
        """A batch of `rows` rows was computed in `seconds`."""
        self._observe(rows)
        self._execute(rows, seconds)


class DataPortMetrics:
    """Observes the data port."""

    def __init__(self, connections: Gauge, rests: Counter, rejections: dict[str, Counter]) -> None:
        self._connections = connections
        self._rests = rests
        self._rejections = rejections

    def connections(self, count: int) -> None:
        """So many clients are connected."""
        self._connections.set(count)

    def rested(self) -> None:
        """A client that got 429 has to rest."""
        self._rests.inc()

    def refused(self, reason: str) -> None:
        """What a client sent was not passed on to the application."""
        self._rejections[reason].inc()


class Metrics:
    """The metrics of one replica that has to do with `variants` of `model`."""

    def __init__(self, model: str, variants: Sequence[str], replica: str) -> None:
        self.replica = replica
        self.statistics: dict[str, VariantStatistics] = defaultdict(VariantStatistics)
        """By variant, from its first look-up on."""
        self._model = model
        self._registry = CollectorRegistry(auto_describe=False)
        self._define(tuple(variants))

    def _define(self, variants: tuple[str, ...]) -> None:
        per_variant = ("model", "variant")
        self._batch_rows = self._histogram(
            "batch_rows", "Rows per batch that went through the model", per_variant, ROWS_BUCKETS
        )
        version = importlib.metadata.version("slimserve")
        self._gauge("build_info", "Always 1; the version of slimserve", ("version",)).labels(
            version
        ).set(1)
        self._variants = variants

    def batches(self, variant: str) -> BatchMetrics:
        """Observer for the batches of a variant that is computed in this replica."""
        histogram = self._batch_rows.labels(self._model, variant)
        return BatchMetrics(histogram, self.statistics[variant])

    def families(self) -> Families:
        """All samples as plain data, each with the replica's label."""
        own = {"replica": self.replica}
        return [
            (
                family.name,
                family.documentation,
                family.type,
                [
                    (sample.name, {**sample.labels, **own}, sample.value)
                    for sample in family.samples
                    if not sample.name.endswith("_created")
                ],
            )
            for family in self._registry.collect()
        ]

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(f"slimserve_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str]) -> Gauge:
        return Gauge(f"slimserve_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Histogram:
        return Histogram(
            f"slimserve_{name}", text, labels, registry=self._registry, buckets=buckets
        )


class GatewayMetrics(Metrics):
    """What a gateway replica counts besides."""

    def _define(self, variants: tuple[str, ...]) -> None:
        super()._define(variants)
        self._define_requests()
        self._define_shadows()
        self.variant: dict[str, VariantMetrics] = {NO_VARIANT: self._bind(NO_VARIANT)}
        self.shadow: dict[str, ShadowMetrics] = {}
        for name in variants:
            self.add_variant(name)
        rejections = self._counter(
            "rejections_total", "Requests not answered with a prediction, by reason",
            ("model", "reason"),
        )  # fmt: skip
        self.rejections = {reason: rejections.labels(self._model, reason) for reason in REJECTIONS}
        self.in_flight = self._gauge(
            "in_flight", "Requests being answered by the gateway", ("model",)
        ).labels(self._model)
        self.data_port = DataPortMetrics(
            self._gauge(
                "data_port_connections", "Clients connected to the data port", ("model",)
            ).labels(self._model),
            self._counter(
                "data_port_rests_total", "Clients that got 429 and had to rest", ("model",)
            ).labels(self._model),
            self.rejections,
        )
        self.table_version = self._gauge(
            "table_version", "Version of the routing table in force", ("model",)
        ).labels(self._model)
        self.catalogue_version = self._gauge(
            "catalogue_version", "Version of the catalogue of variants in force", ("model",)
        ).labels(self._model)
        self.loaded_variants = self._gauge(
            "loaded_variants", "Inline variants in memory, with those that still have to answer",
            ("model",),
        ).labels(self._model)  # fmt: skip
        self._model_bytes = self._gauge(
            "model_bytes", "Size of the variant's artifact", ("model", "variant")
        )

    def add_variant(self, name: str) -> None:
        """Bind the children of a variant. They stay when it goes: counters must not vanish."""
        if name not in self.variant:
            self.variant[name] = self._bind(name)
            self.shadow[name] = self._bind_shadow(name)

    def _define_requests(self) -> None:
        per_variant = ("model", "variant")
        self._requests = self._counter(
            "requests_total", "Requests to infer, by the variant that answered",
            (*per_variant, "outcome"),
        )  # fmt: skip
        self._assignments = self._counter(
            "assignments_total", "Predictions by variant and the reason it was chosen",
            (*per_variant, "why"),
        )  # fmt: skip
        self._fallbacks = self._counter(
            "fallbacks_total", "Requests another variant had to answer, by the one that failed",
            (*per_variant, "reason"),
        )  # fmt: skip
        self._request_seconds = self._histogram(
            "request_seconds", "Time from the request's head to the answer's end, in the gateway",
            per_variant, SECONDS_BUCKETS,
        )  # fmt: skip
        self._phase_seconds = self._histogram(
            "phase_seconds", "Time of each phase of an answered request",
            (*per_variant, "phase"), SECONDS_BUCKETS,
        )  # fmt: skip
        self._rows = self._counter("rows_total", "Rows answered", per_variant)

    def _define_shadows(self) -> None:
        per_variant = ("model", "variant")
        self._shadow_rows = self._counter("shadow_rows_total", "Rows shadowed", per_variant)
        self._shadow_flips = self._counter(
            "shadow_flips_total", "Shadowed rows decided differently from the answer", per_variant
        )
        self._shadow_dropped = self._counter(
            "shadow_dropped_total", "Shadow requests not made, by reason", (*per_variant, "reason")
        )
        self._shadow_difference = self._histogram(
            "shadow_score_difference", "Absolute difference between shadow's and answer's score",
            per_variant, DIFFERENCE_BUCKETS,
        )  # fmt: skip

    def _bind(self, name: str) -> VariantMetrics:
        at = (self._model, name)
        return VariantMetrics(
            outcomes={key: self._requests.labels(*at, key) for key in OUTCOMES},
            whys={key: self._assignments.labels(*at, key) for key in WHYS},
            fallbacks={key: self._fallbacks.labels(*at, key) for key in FALLBACKS},
            request_seconds=self._request_seconds.labels(*at),
            phases={key: self._phase_seconds.labels(*at, key) for key in PHASES},
            rows=self._rows.labels(*at),
        )

    def _bind_shadow(self, name: str) -> ShadowMetrics:
        at = (self._model, name)
        return ShadowMetrics(
            rows=self._shadow_rows.labels(*at),
            flips=self._shadow_flips.labels(*at),
            dropped={key: self._shadow_dropped.labels(*at, key) for key in SHADOW_DROPS},
            difference=self._shadow_difference.labels(*at),
        )

    def set_model_bytes(self, variant: str, size_bytes: int) -> None:
        """Note the size of a variant's artifact."""
        self._model_bytes.labels(self._model, variant).set(size_bytes)

    def clear_model_bytes(self, variant: str) -> None:
        """A variant is no longer served."""
        self._model_bytes.remove(self._model, variant)


class _Merged:
    """Collector over the families of many replicas: one family of each name."""

    def __init__(self, replicas: Iterable[Families]) -> None:
        self._families: dict[str, Metric] = {}
        for families in replicas:
            for name, text, kind, samples in families:
                family = self._families.setdefault(name, Metric(name, text, kind))
                for sample_name, labels, value in samples:
                    family.add_sample(sample_name, labels, value)

    def collect(self) -> Iterator[Metric]:
        """The families, for prometheus_client."""
        yield from self._families.values()


def render(replicas: Iterable[Families]) -> bytes:
    """Exposition text of the samples of all replicas."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(replicas))
    return generate_latest(registry)
