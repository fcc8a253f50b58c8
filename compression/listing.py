"""The table of a store's variants, and that of a variant's checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from compression.quality.gate import NOT_MEASURED
from compression.store import Estimate, Gate, Manifest, WorstSegment

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


def print_checks(manifest: Manifest, gate: Gate) -> None:
    """Print a variant's checks by the gate given, and what stands beside them, to stdout."""
    colour = COLOURS[gate.verdict]
    table = Table(title=f"{manifest.name}: [{colour}]{gate.verdict}[/]")
    table.add_column("check", no_wrap=True)
    for heading in ("is", "must be at least"):
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    for check in gate.checks:
        table.add_row(
            check.name,
            "not measured" if check.value == NOT_MEASURED else f"{check.value:.4f}",
            f"{check.bound:.4f}",
            "[green]passed[/]" if check.passed else "[red]failed[/]",
        )
    console = Console(highlight=False)
    console.print(table)
    for line in _beside(manifest):
        console.print(Text(f"  {line}"), soft_wrap=True)


def _beside(manifest: Manifest) -> Iterator[str]:
    """What the verdict does not hang on, but whoever reads it wants to know."""
    quality = manifest.quality
    changes, worst = quality.decision_changes, quality.worst_segment
    if changes is not None:
        yield (
            f"alert to pass {changes.alert_to_pass:,}, pass to alert {changes.pass_to_alert:,} of "
            f"{quality.rows:,} rows read (McNemar p {changes.mcnemar_p:.3g})"
        )
    if worst is not None:
        yield f"least kept in {worst.dimension} {worst.name}: {_kept(_estimate(worst))}"
    for name, label in (("card_precision_100", "CP@100"), ("ece", "calibration error")):
        if name in quality.metrics:
            yield f"{label} {quality.metrics[name].value:.4f}"


def _estimate(worst: WorstSegment) -> Estimate:
    return Estimate(value=worst.ratio, low=worst.low, high=worst.high)
