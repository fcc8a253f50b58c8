"""The sentences of the report, computed from its numbers: the headline and what got worse."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.comparison import Row
from loadtest.documents import Document
from loadtest.format import count, exact, percent, rate, seconds, size, times
from loadtest.ledger import LoadDocument
from loadtest.store import Manifest

NOISE = 0.05
TAIL_NOISE = 0.3
"""A ratio over repeats too few for an interval must differ by this much to be called worse; a p99
of some hundred samples varies more than a median."""

LOWER_BOUNDS = ("generator", "probes", "ceiling")
"""What makes R_slo a lower bound."""


class Losses(Document):
    """What got worse in one variant against the original, in sentences; empty for nothing."""

    name: str
    sentences: tuple[str, ...]


def best(rows: tuple[Row, ...], *, passed_only: bool = False) -> Row | None:
    """The variant other than the original that holds the SLO at the highest rate."""
    candidates = [
        row
        for row in rows
        if row.gate != "reference"
        and row.r_slo is not None
        and (row.gate == "passed" or not passed_only)
    ]
    return max(candidates, key=lambda row: row.r_slo or 0.0, default=None)


def headline(rows: tuple[Row, ...], slo_seconds: float) -> str:
    """What compression gained end to end, and whether the gate agrees."""
    original = next((row for row in rows if row.gate == "reference"), None)
    fastest, safest = best(rows), best(rows, passed_only=True)
    if original is None or fastest is None:
        return f"No variant beside the original held p99 ≤ {exact(slo_seconds)}."
    if original.r_slo is None:
        start = (
            f"At p99 ≤ {exact(slo_seconds)} the original holds no rate at all; {fastest.name} "
            f"serves {rate(fastest.r_slo)} predictions a second"
        )
    else:
        start = (
            f"At p99 ≤ {exact(slo_seconds)} the original serves {rate(original.r_slo)} "
            f"predictions a second and {fastest.name} {rate(fastest.r_slo)} "
            f"({_gain(fastest, original)})"
        )
    if fastest.gate == "passed":
        return f"{start}, and it passed the quality gate{_quality(fastest, original)}."
    if safest is None:
        return f"{start}, but it failed the quality gate; no compressed variant passed it."
    return (
        f"{start}, but it failed the quality gate. The best variant that passed is {safest.name}: "
        f"{rate(safest.r_slo)} predictions a second ({_gain(safest, original)})"
        f"{_quality(safest, original)}."
    )


def _gain(row: Row, original: Row) -> str:
    gain = times(row.r_slo / original.r_slo if row.r_slo and original.r_slo else None)
    bound = {
        (True, False): "at least ",  # the variant could do more than was measured
        (False, True): "at most ",
    }.get((row.limited_by in LOWER_BOUNDS, original.limited_by in LOWER_BOUNDS), "")
    return bound + gain


def arrives(row: Row, original: Row) -> str:
    """How much of the model's own speed-up is left end to end; empty where it is not known."""
    alone = 1.0 / row.model_to_original if row.model_to_original else None
    if alone is None or not row.p50_seconds or not original.p50_seconds:
        return ""
    latency = original.p50_seconds / row.p50_seconds
    gained = f"{times(latency)} in p50"
    if row.r_slo and original.r_slo:
        gained = f"{_gain(row, original)} in throughput and {gained}"
    return (
        f"Alone, the model of {row.name} is {times(alone)} as fast as the original's. End to end "
        f"that becomes {gained}: the rest of a request is HTTP, routing and waiting."
    )


def _quality(row: Row, original: Row) -> str:
    if row.ap is None or original.ap is None:
        return ""
    same = ""
    if row.decision_agreement is not None:
        same = f", {percent(row.decision_agreement)} of decisions the same"
    return f" (AP {row.ap:.3f} against {original.ap:.3f}{same})"


def losses(rows: tuple[Row, ...], manifests: Mapping[str, Manifest]) -> tuple[Losses, ...]:
    """For every variant beside the original, everything measured that got worse."""
    original = next((row for row in rows if row.gate == "reference"), None)
    if original is None:
        return ()
    reference = manifests[original.name]
    return tuple(
        Losses(
            name=row.name,
            sentences=(
                *_lost_quality(row, original, manifests[row.name], reference),
                *_lost_speed(row, original),
            ),
        )
        for row in rows
        if row.gate != "reference"
    )


def _lost_quality(row: Row, original: Row, manifest: Manifest, reference: Manifest) -> list[str]:
    found = [f"The quality gate failed: {check}." for check in row.failed_checks]
    if row.gate == "failed" and not row.failed_checks:
        found.append("The quality gate failed.")
    if row.ap is not None and original.ap is not None and f"{row.ap:.4f}" < f"{original.ap:.4f}":
        found.append(
            f"AP fell from {original.ap:.4f} to {row.ap:.4f} "
            f"({_change(row.ap, original.ap)}{_ap_interval(manifest)})."
        )
    found += [
        f"{label} {verb} from {before:.4f} to {after:.4f}."
        for label, verb, before, after in _other_metrics(manifest, reference)
    ]
    if row.decision_agreement is not None and row.decision_agreement < 1.0:
        # Not a count of rows: on a weighted sample each row stands for several.
        differ = 1.0 - row.decision_agreement
        found.append(
            f"{percent(differ)} of decisions differ from the original's, "
            f"1 in {round(1 / differ):,}."
        )
    if row.distinct_scores < original.distinct_scores:
        found.append(
            f"Distinct scores fell from {original.distinct_scores:,} to {row.distinct_scores:,}: "
            "a threshold can be set less finely."
        )
    return found


def _ap_interval(manifest: Manifest) -> str:
    ratio = manifest.quality.ratios_to_original.get("average_precision")
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"; ratio {ratio.low:.3f}–{ratio.high:.3f} with 95 % confidence"


_HIGHER_IS_BETTER = {
    "auc": "AUC",
    "card_precision_100": "Precision among the 100 highest cards",
    "recall_at_fpr_1pct": "Recall at 1 % false alarms",
}
_LOWER_IS_BETTER = {"ece": "Calibration error"}


def _other_metrics(manifest: Manifest, reference: Manifest) -> list[tuple[str, str, float, float]]:
    found = []
    own, base = manifest.quality.metrics, reference.quality.metrics
    for labels, verb, sign in ((_HIGHER_IS_BETTER, "fell", 1.0), (_LOWER_IS_BETTER, "rose", -1.0)):
        for name, label in labels.items():
            if name in own and name in base:
                before, after = base[name].value, own[name].value
                if sign * (before - after) > 5e-5:  # what four decimals can show
                    found.append((label, verb, before, after))
    return found


_SLOWER = {
    "p50": ("End-to-end p50 at the common rate", "p50_seconds"),
    "p99": ("End-to-end p99 at the common rate", "p99_seconds"),
    "cpu": ("CPU seconds per 1,000 predictions at the common rate", "cpu_seconds_per_1000"),
    "cpu_busy": ("CPU seconds per 1,000 when busy", "cpu_seconds_per_1000_busy"),
}


def _lost_speed(row: Row, original: Row) -> list[str]:
    found = []
    for name, (label, field) in _SLOWER.items():
        ratio = row.ratios.get(name)
        if ratio is None:
            continue
        noise = TAIL_NOISE if name == "p99" else NOISE
        clear = ratio.low > 1.0 if ratio.low is not None else ratio.value > 1.0 + noise
        if clear:
            before, after = getattr(original, field), getattr(row, field)
            shown = (
                f"{seconds(before)} to {seconds(after)}"
                if field in ("p50_seconds", "p99_seconds")
                else f"{before:.3g} to {after:.3g}"
            )
            found.append(f"{label} rose from {shown} ({times(ratio.value)}).")
    throughput = row.ratios.get("r_slo")
    if row.r_slo is None and original.r_slo is not None:
        found.append("No rate was found that holds the SLO.")
    elif throughput is not None and (
        throughput.high < 1.0 if throughput.high is not None else throughput.value < 1.0 - NOISE
    ):
        found.append(
            f"R_slo fell from {rate(original.r_slo)} to {rate(row.r_slo)} "
            f"({times(throughput.value)})."
        )
    if row.model_to_original is not None and row.model_to_original > 1.0 + NOISE:
        found.append(
            f"The model alone takes {seconds(row.model_p50_seconds)} a row instead of "
            f"{seconds(original.model_p50_seconds)}."
        )
    if row.bytes > original.bytes:
        found.append(f"Its files grew from {size(original.bytes)} to {size(row.bytes)}.")
    if row.parameters > original.parameters:
        found.append(
            f"Parameters grew from {count(original.parameters)} to {count(row.parameters)}."
        )
    return found


def _change(after: float, before: float) -> str:
    return f"{(after / before - 1.0) * 100.0:+.1f} %" if before else "from nothing"


def noise_notes(document: LoadDocument, rows: tuple[Row, ...]) -> tuple[str, ...]:
    """What limits the numbers, from the numbers."""
    environment, settings = document.environment, document.settings
    notes = [
        "The load generator ran on the machine it started from; where that is the server's too, "
        "it takes cores from it, so capacities are lower than those of a machine of its own."
    ]
    if settings.profile == "quick":
        notes.append(
            f"The quick profile repeats each variant {settings.rounds} times: good for orders of "
            "magnitude, too few for intervals. The full profile repeats at least 5 times."
        )
    if environment.load_average_before > 0.5:
        notes.append(
            f"The machine was not idle: load average {environment.load_average_before:.1f} on "
            f"{environment.cores} cores before the first request."
        )
    for row in rows:
        values = [c.low.measurement.response.p50_seconds or 0.0 for c in document.of(row.name)]
        if len(values) > 1 and min(values) > 0 and max(values) / min(values) > 1.2:
            notes.append(
                f"{row.name}: p50 differs by {max(values) / min(values):.1f}× between rounds."
            )
        if row.generator_late:
            notes.append(
                f"{row.name}: the generator itself was late at the common rate (dispatch-lag p99 "
                f"over {exact(settings.limits.lag_seconds)}), so its latencies are upper bounds."
            )
        if not row.p99_sufficient:
            notes.append(f"{row.name}: {row.low_samples} samples, a p99 needs 459.")
        if row.limited_by == "generator":
            notes.append(f"{row.name}: R_slo is a lower bound, the generator was the limit.")
        if row.limited_by in ("probes", "ceiling"):
            notes.append(
                f"{row.name}: R_slo is a lower bound, the search ended before it was narrowed down."
            )
    return (*notes, *document.notes)
