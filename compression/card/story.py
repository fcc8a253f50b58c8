"""What got worse, in sentences that are computed from what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from compression.card.format import figure, interval, milliseconds, percent, size
from compression.store import Estimate, Manifest, Segment, VariantEvidence

SIGNIFICANT = 0.05
FALLS = {
    "auc": "AUC",
    "recall_at_fpr_1pct": "Recall at 1 % false alarms",
    "card_precision_100": "Precision among the 100 highest a day",
}
SHOWN = 5e-5
"""What four decimals can show."""
SLOWER, COARSER = 1.05, 0.95
"""Less than this is noise of the clock, and rounding."""


def losses(
    manifest: Manifest, original: Manifest, evidence: VariantEvidence | None
) -> tuple[str, ...]:
    """Everything in which a variant does worse than the original; empty for nothing."""
    return (
        *_gate(manifest),
        *_metrics(manifest, original),
        *_segments(evidence),
        *_decisions(manifest),
        *_scores(manifest, original),
        *_cost(manifest, original),
    )


def headline(manifests: list[Manifest]) -> str:
    """How many variants passed, and which did not."""
    judged = [m for m in manifests if m.gate.verdict != "reference"]
    failed = [m.name for m in judged if m.gate.verdict == "failed"]
    if not judged:
        return "The original alone: there is no variant to judge."
    passed = f"{len(judged) - len(failed)} of {len(judged)} variants passed the quality gate"
    return f"{passed}; failed: {', '.join(failed)}." if failed else f"{passed}."


def _gate(manifest: Manifest) -> Iterator[str]:
    for check in manifest.gate.checks:
        if not check.passed:
            name = check.name.replace("_", " ")
            yield f"The gate's {name} is {check.value:.4f}, it must be at least {check.bound:.4f}."


def _metrics(manifest: Manifest, original: Manifest) -> Iterator[str]:
    own, base = manifest.quality.metrics, original.quality.metrics
    for name, label in ({"average_precision": "Average precision"} | FALLS).items():
        if name in own and name in base and base[name].value - own[name].value > SHOWN:
            ratio = manifest.quality.ratios_to_original.get(name)
            change = f"from {base[name].value:.4f} to {own[name].value:.4f}"
            yield f"{label} fell {change}{_kept(ratio)}."
    before, after = base.get("ece"), own.get("ece")
    if before and after and after.value - before.value > SHOWN:
        yield f"Calibration error rose from {before.value:.4f} to {after.value:.4f}."


def _kept(ratio: Estimate | None) -> str:
    """The ratio, its interval, and whether chance explains it."""
    if ratio is None or ratio.high is None:
        return ""
    sure = "more than chance explains" if ratio.high < 1 else "this sample cannot tell from none"
    return f": it keeps {percent(ratio.value)} ({interval(ratio)}), {sure}"


def _segments(evidence: VariantEvidence | None) -> Iterator[str]:
    """Segments whose whole interval lies below 1, the worst first."""
    judged = [
        (segment.average_precision_ratio.value, segment)
        for segment in (evidence.segments if evidence else ())
        if segment.average_precision_ratio and (segment.average_precision_ratio.high or 1) < 1
    ]
    if judged:
        listed = "; ".join(_described(s) for _, s in sorted(judged, key=lambda pair: pair[0]))
        yield f"Average precision is lower, by more than chance explains, with {listed}."


def _described(segment: Segment) -> str:
    return f"{segment.dimension} {segment.name}: {_share(segment)} kept"


def _share(segment: Segment) -> str:
    ratio = segment.average_precision_ratio
    return f"{percent(ratio.value if ratio else None)} ({interval(ratio)})"


def _decisions(manifest: Manifest) -> Iterator[str]:
    changes = manifest.quality.decision_changes
    if changes is None or not changes.alert_to_pass + changes.pass_to_alert:
        return
    share = changes.alert_to_pass_share + changes.pass_to_alert_share
    yield (
        f"{percent(share)} of decisions differ: among the rows read {changes.alert_to_pass:,} "
        f"alerts became passes and {changes.pass_to_alert:,} passes became alerts."
    )
    if changes.positives_lost > changes.positives_gained:
        yield (
            f"It loses {changes.positives_lost:,} positives that the original finds, and finds "
            f"{changes.positives_gained:,} that the original loses."
        )
    if changes.mcnemar_p < SIGNIFICANT:
        laxer = changes.alert_to_pass > changes.pass_to_alert
        yield (
            f"Among the rows read it is {'laxer' if laxer else 'stricter'} than the original "
            f"(McNemar's exact p = {changes.mcnemar_p:.2g})."
        )


def _scores(manifest: Manifest, original: Manifest) -> Iterator[str]:
    own, base = manifest.quality.distinct_scores, original.quality.distinct_scores
    if own < COARSER * base:
        yield f"Distinct scores fell from {base:,} to {own:,}: thresholds can be set less finely."


def _cost(manifest: Manifest, original: Manifest) -> Iterator[str]:
    own, base = single_row(manifest), single_row(original)
    if own is not None and base is not None and own > SLOWER * base:
        yield f"One row takes {milliseconds(own)} instead of {milliseconds(base)}."
    if manifest.bytes > original.bytes:
        yield f"Its files grew from {size(original.bytes)} to {size(manifest.bytes)}."


def single_row(manifest: Manifest) -> float | None:
    """Median model-only latency of one row, seconds."""
    return next((r.p50_seconds for r in manifest.latency.by_rows if r.rows == 1), None)


def worst_segment(manifest: Manifest) -> str:
    """The worst segment in a few words; empty where none was measured."""
    worst = manifest.quality.worst_segment
    return f"{figure(worst.ratio, 3)} · {worst.dimension} {worst.name}" if worst else ""
