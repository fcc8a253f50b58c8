"""The table of a store's variants."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from compression.store import Manifest

COLOURS = {"passed": "green", "failed": "red", "reference": "default"}


def print_variants(model: str, manifests: Iterable[Manifest]) -> None:
    """Print name, chain, size, quality, gate and model-only latency, to stdout."""
    table = Table(title=f"variants of {model}")
    table.add_column("variant")
    for column in ("kB", "parameters", "AP", "AP ratio", "decisions equal", "p50, 1 row"):
        table.add_column(column, justify="right")
    table.add_column("gate")
    table.add_column("chain")
    for manifest in manifests:
        table.add_row(*_row(manifest))
    Console().print(table)


def _row(manifest: Manifest) -> tuple[str, ...]:
    quality, gate = manifest.quality, manifest.gate.verdict
    ratio = quality.ratios_to_original.get("average_precision")
    agreement = quality.decision_agreement
    single = next((row for row in manifest.latency.by_rows if row.rows == 1), None)
    return (
        manifest.name,
        f"{manifest.bytes / 1e3:,.0f}",
        f"{manifest.parameters:,}",
        f"{quality.metrics['average_precision'].value:.4f}",
        "–" if ratio is None else f"{ratio.value:.4f} [{ratio.low:.3f}, {ratio.high:.3f}]",
        "–" if agreement is None else f"{100 * agreement:.2f} %",
        "–" if single is None else f"{single.p50_seconds * 1e3:.3f} ms",
        f"[{COLOURS[gate]}]{gate}[/]",
        " → ".join(step.technique for step in manifest.lineage.chain) or "–",
    )
