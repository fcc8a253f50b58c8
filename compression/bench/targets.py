"""Hold measured variants against a recipe's targets: met or missed, computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compression.bench.config import ROWS_FOR_LATENCY, ROWS_FOR_RATE, TargetConfig
from compression.bench.results import Met, TargetResult, VariantResult
from compression.store import Estimate

SUBJECTS = {
    "passing": "of those that pass the gate, the one that comes closest to all bounds",
    "smallest": "the one of the fewest bytes",
}


def judge_target(
    target: TargetConfig, variants: Sequence[VariantResult], uncompressed: frozenset[str]
) -> TargetResult:
    """Choose the target's variant and judge it; `uncompressed` ones are never chosen."""
    candidates = [
        variant
        for variant in variants
        if variant.name == target.variant
        or (target.variant is None and variant.name not in uncompressed)
    ]
    if target.choose == "passing":
        candidates = [variant for variant in candidates if variant.gate.verdict == "passed"]
    subject = f"variant {target.variant}" if target.choose is None else SUBJECTS[target.choose]
    if not candidates:
        return TargetResult(name=target.name, subject=subject, variant=None, bounds=(), met=False)
    if target.choose == "smallest":
        chosen = min(candidates, key=lambda variant: variant.bytes)
    else:
        chosen = max(candidates, key=lambda variant: _closeness(target, variant))
    bounds = tuple(_bounds(target, chosen))
    return TargetResult(
        name=target.name,
        subject=subject,
        variant=chosen.name,
        bounds=bounds,
        met=all(bound.met for bound in bounds),
    )


def _closeness(target: TargetConfig, variant: VariantResult) -> float:
    """The weakest figure as a share of its bound; 1 or more where all are met."""
    return min((one.value / one.bound for one in _bounds(target, variant)), default=1.0)


def _bounds(target: TargetConfig, variant: VariantResult) -> Iterator[Met]:
    for name, figure in _figures(variant).items():
        bound = getattr(target, name)
        if bound is not None:
            yield Met(
                figure=name,
                value=figure.value,
                low=figure.low,
                bound=bound,
                met=figure.value >= bound,
            )


def _figures(variant: VariantResult) -> Mapping[str, Estimate]:
    ratios = variant.against_reference
    return {
        "times_smaller": Estimate(value=ratios.times_smaller),
        "times_faster": ratios.times_faster[ROWS_FOR_LATENCY],
        "times_the_rate": ratios.times_the_rate[ROWS_FOR_RATE],
        "times_fewer_flops": Estimate(value=ratios.times_fewer_flops or 0.0),
        "ap_ratio": Estimate(
            value=variant.ap_ratio, low=variant.ap_ratio_low, high=variant.ap_ratio_high
        ),
        "distinct_scores_ratio": Estimate(value=variant.distinct_scores_ratio),
    }
