"""The bench's tables."""

from __future__ import annotations

from collections.abc import Iterator

from compression.bench.config import ROWS_FOR_LATENCY, ROWS_FOR_RATE
from compression.bench.results import Met, Results, VariantResult
from compression.store import Estimate
from compression.tables import Cells

FIGURES = {
    "times_smaller": "× smaller",
    "times_faster": "× faster, p50 at 1 row",
    "times_the_rate": "× rows/s at 32 rows",
    "times_fewer_flops": "× fewer FLOPs",
    "ap_ratio": "of the original's AP",
    "distinct_scores_ratio": "of its distinct scores",
}
SHARES = frozenset({"ap_ratio", "distinct_scores_ratio"})


def variants_table(results: Results) -> Cells:
    """Size, speed and quality of each variant, with the ratios to the reference."""
    headings = (
        "variant", "kB", "smaller", "p50, 1 row", "faster (95 %)", "rows/s, 32 rows",
        "more (95 %)", "AP", "AP kept (95 %)", "distinct", "same decisions", "gate",
    )  # fmt: skip
    rows = tuple(_variant_row(variant) for variant in results.variants)
    return Cells(f"variants of {results.model} against {results.reference}", headings, rows)


def _variant_row(variant: VariantResult) -> tuple[str, ...]:
    ratios = variant.against_reference
    agreement = variant.decision_agreement
    kept = Estimate(value=variant.ap_ratio, low=variant.ap_ratio_low, high=variant.ap_ratio_high)
    return (
        variant.name,
        f"{variant.bytes / 1e3:,.0f}",
        f"{ratios.times_smaller:.1f}×",
        f"{variant.p50_seconds[ROWS_FOR_LATENCY] * 1e3:.3f} ms",
        _times(ratios.times_faster[ROWS_FOR_LATENCY]),
        f"{variant.rows_per_second[ROWS_FOR_RATE]:,.0f}",
        _times(ratios.times_the_rate[ROWS_FOR_RATE]),
        f"{variant.ap.value:.4f}",
        "–" if variant.gate.verdict == "reference" else _interval(kept, "{:.4f}", ""),
        f"{variant.distinct_scores:,}",
        "–" if agreement is None else f"{100 * agreement:.2f} %",
        variant.gate.verdict,
    )


def targets_table(results: Results) -> Cells:
    """A row for every bound of every target."""
    headings = ("target", "variant", "figure", "wanted", "measured (low)", "")
    return Cells("targets", headings, tuple(_target_rows(results)))


def _target_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for target in results.targets:
        if target.variant is None:
            yield target.name, "none", f"there is no {target.subject}", "–", "–", "missed"
        for bound in target.bounds:
            yield (
                target.name,
                target.variant or "none",
                FIGURES[bound.figure],
                f"≥ {_figure(bound.figure, bound.bound)}",
                _measured(bound),
                "met" if bound.met else "missed",
            )


def _measured(bound: Met) -> str:
    low = "" if bound.low is None else f" ({_figure(bound.figure, bound.low)})"
    return _figure(bound.figure, bound.value) + low


def _figure(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name in SHARES else f"{value:.2f}×"


def _times(estimate: Estimate) -> str:
    return _interval(estimate, "{:.1f}" if estimate.value >= 10 else "{:.2f}", "×")


def _interval(estimate: Estimate, form: str, unit: str) -> str:
    low, high = estimate.low, estimate.high
    ends = "" if low is None or high is None else f" ({form.format(low)}–{form.format(high)})"
    return form.format(estimate.value) + unit + ends


def other_sizes_table(results: Results) -> Cells:
    """p50 and its ratio at every batch size that was measured."""
    sizes = sorted(results.variants[0].p50_seconds)
    return Cells(
        "p50 of a call by rows",
        ("variant", *(f"{size} rows" for size in sizes)),
        tuple(
            (
                variant.name,
                *(
                    f"{variant.p50_seconds[size] * 1e3:.3f} ms, "
                    f"{_times(variant.against_reference.times_faster[size])}"
                    for size in sizes
                ),
            )
            for variant in results.variants
        ),
    )


def markdown(results: Results) -> str:
    """The whole report, results.md."""
    tables = [variants_table(results), other_sizes_table(results)]
    if results.targets:
        tables.append(targets_table(results))
    sections = [
        f"# {results.model}: what compression saves ({results.profile})",
        _where(results),
        f"Latency: medians of {results.rounds} rounds in which all variants took turns, "
        f"{results.slice_seconds:g} s at a time; ratios to {results.reference} round by round, "
        "95 % intervals by a bootstrap over rounds. "
        f"Quality: {results.test}; intervals by a bootstrap paired by group.",
        *(f"## {table.title}\n\n{table.markdown()}" for table in tables),
    ]
    return "\n\n".join(sections) + "\n"


def _where(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{results.measured_at}, {machine.cpu}, {machine.cores} cores, one thread; {versions}. "
        f"Recipe {results.recipe} ({results.recipe_sha256[:12]}), seed {results.seed}."
    )
