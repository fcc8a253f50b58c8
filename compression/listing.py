"""The table of a store's variants."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from compression.store import Estimate, Manifest

COLOURS = {"passed": "green", "failed": "red", "reference": "default"}


WIDE = 110
"""Columns from which on parameters and chain are shown too."""


def print_variants(model: str, manifests: Iterable[Manifest]) -> None:
    """Print name, size, quality, gate and model-only latency, to stdout; more where it fits."""
    console = Console()
    wide = console.width >= WIDE
    table = Table(title=f"variants of {model}")
    table.add_column("variant", no_wrap=True)
    headings = ("kB", "AP", "AP kept (95 %)", "same decisions", "1 row")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("gate", no_wrap=True)
    if wide:
        table.add_column("parameters", justify="right")
        table.add_column("chain")
    for manifest in manifests:
        table.add_row(*_row(manifest), *(_more(manifest) if wide else ()))
    console.print(table)


def _row(manifest: Manifest) -> tuple[str, ...]:
    quality, gate = manifest.quality, manifest.gate.verdict
    agreement = quality.decision_agreement
    single = next((row for row in manifest.latency.by_rows if row.rows == 1), None)
    return (
        manifest.name,
        f"{manifest.bytes / 1e3:,.0f}",
        f"{quality.metrics['average_precision'].value:.4f}",
        _kept(quality.ratios_to_original.get("average_precision")),
        "–" if agreement is None else f"{100 * agreement:.2f} %",
        "–" if single is None else f"{single.p50_seconds * 1e3:.3f} ms",
        f"[{COLOURS[gate]}]{gate}[/]",
    )


def _kept(ratio: Estimate | None) -> str:
    if ratio is None:
        return "–"
    interval = "" if ratio.low is None else f" ({ratio.low:.3f}–{ratio.high:.3f})"
    return f"{ratio.value:.4f}{interval}"


def _more(manifest: Manifest) -> tuple[str, ...]:
    chain = " → ".join(step.technique for step in manifest.lineage.chain)
    return f"{manifest.parameters:,}", chain or "–"
