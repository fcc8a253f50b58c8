"""One row per variant: what the store says about it beside what the load test measured.

Pure: from documents to a document. The report, the console table and `results.json` all show
these rows, so they cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from loadtest.documents import Document
from loadtest.histogram import LatencyHistogram, Quantiles
from loadtest.ledger import Cell, LoadDocument, RawHistogram, write_whole
from loadtest.pricing import Pricing, cost_per_million
from loadtest.statistics import Ratio, median, paired_ratio
from loadtest.store import Estimate, Manifest

RESULTS_FILE = "results.json"


class Row(Document):
    """A variant, end to end. None means: not measurable here."""

    name: str
    family: str
    gate: Literal["reference", "passed", "failed"]
    failed_checks: tuple[str, ...]
    parameters: int
    bytes: int
    ap: float | None
    ap_low: float | None
    ap_high: float | None
    auc: float | None
    decision_agreement: float | None
    distinct_scores: int
    model_p50_seconds: float | None
    p50_seconds: float | None
    p99_seconds: float | None
    p99_sufficient: bool
    service_p50_seconds: float | None
    low_samples: int
    r_slo: float | None
    limited_by: str | None
    cpu_seconds_per_1000: float | None
    """At the common low rate, replicas and proxy."""
    cpu_seconds_per_1000_busy: float | None
    memory_bytes: int | None
    """Resident memory of replicas and proxy while this variant was measured."""
    cost_per_million: float | None
    currency: str
    price: str
    """Name of the price of the machine it is paid for."""
    model_to_original: float | None
    ratios: dict[str, Ratio]
    """Metric name → this variant ÷ original."""
    generator_late: bool
    """The generator itself was late in a run at the low rate, so latencies are upper bounds."""
    chain: str


def rows(
    document: LoadDocument,
    histograms: list[RawHistogram],
    manifests: Mapping[str, Manifest],
    pricing: Pricing,
) -> tuple[Row, ...]:
    """The measured variants, the original first."""
    measured = [name for name in document.settings.variants if document.of(name)]
    original = next(
        (name for name in measured if manifests[name].gate.verdict == "reference"), None
    )
    base = document.of(original) if original else []
    made = []
    for name in measured:
        response = _pooled(histograms, name, "response")
        made.append(
            _row(
                manifests[name],
                manifests.get(original or ""),
                document,
                (document.of(name), base),
                (response, _pooled(histograms, name, "service")),
                pricing,
            )
        )
    reference = next((row for row in made if row.name == original), None)
    return tuple(_consistent(row, reference) if reference else row for row in made)


def _row(
    manifest: Manifest,
    original: Manifest | None,
    document: LoadDocument,
    cells: tuple[list[Cell], list[Cell]],
    pooled: tuple[Quantiles, Quantiles],
    pricing: Pricing,
) -> Row:
    own, base = cells
    response, service = pooled
    price = pricing.of(manifest.name)
    metrics = manifest.quality.metrics
    ap = metrics.get("average_precision", Estimate(value=0.0))
    has_ap = "average_precision" in metrics
    series = {name: (take(own), take(base)) for name, take in SERIES.items()}
    r_slo = median(series["r_slo"][0])
    if r_slo is not None:
        r_slo *= document.settings.rows_per_request
    agreement = manifest.quality.decision_agreement
    return Row(
        name=manifest.name,
        family=manifest.family,
        gate=manifest.gate.verdict,
        failed_checks=tuple(
            f"{check.name} is {check.value:.4g}, at least {check.bound:.4g} was needed"
            for check in manifest.gate.checks
            if not check.passed
        ),
        parameters=manifest.parameters,
        bytes=manifest.bytes,
        ap=ap.value if has_ap else None,
        ap_low=ap.low,
        ap_high=ap.high,
        auc=metrics["auc"].value if "auc" in metrics else None,
        decision_agreement=1.0 if agreement is None and manifest is original else agreement,
        distinct_scores=manifest.quality.distinct_scores,
        model_p50_seconds=manifest.model_p50_seconds(),
        p50_seconds=response.p50_seconds,
        p99_seconds=response.p99_seconds,
        p99_sufficient=response.p99_sufficient,
        service_p50_seconds=service.p50_seconds,
        low_samples=response.count,
        r_slo=r_slo,
        limited_by=_limited_by(own),
        cpu_seconds_per_1000=median(series["cpu"][0]),
        cpu_seconds_per_1000_busy=median(series["cpu_busy"][0]),
        memory_bytes=_memory(own),
        cost_per_million=(
            cost_per_million(price.price_per_hour, r_slo, utilisation=pricing.utilisation)
            if r_slo
            else None
        ),
        currency=price.currency,
        price=price.name,
        model_to_original=_model_ratio(manifest, original),
        ratios=_ratios(series, document.settings.seed),
        generator_late=_late(own, document),
        chain=" → ".join(step.technique for step in manifest.lineage.chain) or "as trained",
    )


def _r_slo(cells: list[Cell]) -> list[float | None]:
    return [cell.search.r_slo_per_second for cell in cells]


def _p50(cells: list[Cell]) -> list[float | None]:
    return [cell.low.measurement.response.p50_seconds for cell in cells]


def _p99(cells: list[Cell]) -> list[float | None]:
    return [cell.low.measurement.response.p99_seconds for cell in cells]


def _cpu(cells: list[Cell]) -> list[float | None]:
    return [c.low.use.serving_cpu_seconds_per_1000 if c.low.use else None for c in cells]


def _cpu_busy(cells: list[Cell]) -> list[float | None]:
    uses = [cell.busy.use if cell.busy else None for cell in cells]
    return [use.serving_cpu_seconds_per_1000 if use else None for use in uses]


SERIES = {"p50": _p50, "p99": _p99, "r_slo": _r_slo, "cpu": _cpu, "cpu_busy": _cpu_busy}
"""What is followed over the rounds: name → values of a variant's cells."""


def _ratios(
    series: Mapping[str, tuple[list[float | None], list[float | None]]], seed: int
) -> dict[str, Ratio]:
    found = {name: paired_ratio(own, base, seed=seed) for name, (own, base) in series.items()}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


_SHOWN = {
    "p50": "p50_seconds",
    "p99": "p99_seconds",
    "r_slo": "r_slo",
    "cpu": "cpu_seconds_per_1000",
    "cpu_busy": "cpu_seconds_per_1000_busy",
}


def _consistent(row: Row, original: Row) -> Row:
    """The row with ratios of the figures it shows; the rounds give only the intervals.

    p50 and p99 come from the samples of all rounds together, which is not the median of rounds.
    """
    ratios = {}
    for name, field in _SHOWN.items():
        own, base = getattr(row, field), getattr(original, field)
        if own is not None and base:
            bootstrapped = row.ratios.get(name, Ratio(value=0.0))
            ratios[name] = bootstrapped.model_copy(update={"value": own / base})
    return row.model_copy(update={"ratios": ratios})


def _pooled(histograms: list[RawHistogram], variant: str, which: str) -> Quantiles:
    pooled = LatencyHistogram()
    for entry in histograms:
        if (entry.variant, entry.kind) == (variant, "low"):
            pooled.merge(getattr(entry.histograms, which))
    return pooled.quantiles()


def _limited_by(cells: list[Cell]) -> str | None:
    """The generator's limit is told whenever it was met; else what ended most searches."""
    causes: list[str] = [
        cell.search.limited_by for cell in cells if cell.search.r_slo_per_second is not None
    ]
    if "generator" in causes:
        return "generator"
    known = [cause for cause in causes if cause != "probes"]
    counted = known or causes  # a later round that ended early confirms the limit of an earlier
    return max(set(counted), key=counted.count) if counted else ("slo" if cells else None)


def _memory(cells: list[Cell]) -> int | None:
    sizes = [cell.low.use.serving_memory_bytes for cell in cells if cell.low.use]
    known = [size for size in sizes if size is not None]
    return max(known) if known else None


def _model_ratio(manifest: Manifest, original: Manifest | None) -> float | None:
    own = manifest.model_p50_seconds()
    base = original.model_p50_seconds() if original else None
    return own / base if own and base else None


def _late(cells: list[Cell], document: LoadDocument) -> bool:
    limit = document.settings.limits.lag_seconds
    lags = [cell.low.measurement.lag.p99_seconds for cell in cells]
    return any(lag is not None and lag > limit for lag in lags)


def results(document: LoadDocument, table: tuple[Row, ...]) -> dict[str, Any]:
    """The content of `results.json`: machine, variants and what they were measured with."""
    wanted = (
        "name", "parameters", "bytes", "ap", "ap_low", "ap_high", "auc", "decision_agreement",
        "gate", "model_p50_seconds", "p50_seconds", "p99_seconds", "r_slo",
        "cpu_seconds_per_1000", "cost_per_million", "cpu_seconds_per_1000_busy", "memory_bytes",
        "limited_by", "p99_sufficient", "currency", "price",
    )  # fmt: skip
    settings = document.settings
    return {
        "machine": document.environment.model_dump(),
        "settings": {
            "profile": settings.profile,
            "slo_seconds": settings.limits.slo_seconds,
            "common_rate_per_second": document.common_rate_per_second,
            "rows_per_request": settings.rows_per_request,
            "rounds": settings.rounds,
            "seed": settings.seed,
        },
        "variants": [{key: getattr(row, key) for key in wanted} for row in table],
    }


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Write `results.json` whole or not at all."""
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
