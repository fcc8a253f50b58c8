"""The document results.json: one entry a variant, the targets, and where it was measured."""

from __future__ import annotations

from collections.abc import Mapping

from compression.bench.latency_rounds import Rounds, over_rounds, times_faster, times_the_rate
from compression.store import Estimate, Gate, Machine, Manifest
from compression.store.manifest import Document

RATIO = "average_precision"


class Step(Document):
    """A technique of a chain with the options that made the variant."""

    technique: str
    options: dict[str, object]


class AgainstReference(Document):
    """How often smaller and faster than the reference; by batch size where it depends on that."""

    times_smaller: float
    times_fewer_flops: float | None
    times_faster: dict[int, Estimate]
    """p50, the median of the rounds' ratios with its interval."""
    times_the_rate: dict[int, Estimate]
    """Rows per second, likewise."""


class VariantResult(Document):
    """One variant: size and quality as its manifest says, latency as measured in these rounds."""

    name: str
    family: str
    chain: tuple[Step, ...]
    bytes: int
    parameters: int
    flops_per_row: int | None
    """None where they cannot be counted, as for trees."""
    p50_seconds: dict[int, float]
    """By rows of a call; the median of the rounds."""
    p50_seconds_interval: dict[int, tuple[float, float]]
    p99_seconds: dict[int, float]
    rows_per_second: dict[int, float]
    calls: dict[int, int]
    against_reference: AgainstReference
    ap: Estimate
    ap_ratio: float
    """Average precision as a share of the original's; 1 for the original itself."""
    ap_ratio_low: float
    ap_ratio_high: float
    auc_ratio: float
    distinct_scores: int
    distinct_scores_ratio: float
    decision_agreement: float | None
    gate: Gate


class Met(Document):
    """One bound of a target. `low` is the figure's lower 95 % end, where there is one."""

    figure: str
    value: float
    low: float | None
    bound: float
    met: bool


class TargetResult(Document):
    """A target and the variant it was held against; `variant` None: there is no such one."""

    name: str
    subject: str
    variant: str | None
    bounds: tuple[Met, ...]
    met: bool


class Results(Document):
    """Everything the bench has to say."""

    schema_version: int = 1
    recipe: str
    recipe_sha256: str
    model: str
    profile: str
    seed: int
    reference: str
    machine: Machine
    """Versions of the packages, too. `threads` is what each variant ran on."""
    measured_at: str
    rounds: int
    slice_seconds: float
    test: str
    """Which rows quality is of."""
    gate_bounds: dict[str, object]
    variants: tuple[VariantResult, ...]
    targets: tuple[TargetResult, ...]


def variant_result(
    manifest: Manifest, rounds: Mapping[int, Rounds], against: AgainstReference
) -> VariantResult:
    """A variant's entry; `rounds` by batch size."""
    quality = manifest.quality
    ratio = quality.ratios_to_original.get(RATIO, Estimate(value=1.0))
    auc = quality.ratios_to_original.get("auc", Estimate(value=1.0))
    p50 = {size: over_rounds(one.p50_seconds) for size, one in rounds.items()}
    return VariantResult(
        name=manifest.name,
        family=manifest.family,
        chain=tuple(Step(technique=s.technique, options=s.options) for s in manifest.lineage.chain),
        bytes=manifest.bytes,
        parameters=manifest.parameters,
        flops_per_row=manifest.flops_per_row,
        p50_seconds={size: one.value for size, one in p50.items()},
        p50_seconds_interval={size: _ends(one) for size, one in p50.items()},
        p99_seconds={size: over_rounds(one.p99_seconds).value for size, one in rounds.items()},
        rows_per_second={n: over_rounds(one.rows_per_second).value for n, one in rounds.items()},
        calls={size: one.calls for size, one in rounds.items()},
        against_reference=against,
        ap=quality.metrics[RATIO],
        ap_ratio=ratio.value,
        ap_ratio_low=_ends(ratio)[0],
        ap_ratio_high=_ends(ratio)[1],
        auc_ratio=auc.value,
        distinct_scores=quality.distinct_scores,
        distinct_scores_ratio=quality.distinct_scores
        / (quality.distinct_scores_original or quality.distinct_scores),
        decision_agreement=quality.decision_agreement,
        gate=manifest.gate,
    )


def against(
    manifest: Manifest,
    rounds: Mapping[int, Rounds],
    reference: Manifest,
    reference_rounds: Mapping[int, Rounds],
) -> AgainstReference:
    """A variant's ratios to the reference, both measured in the same rounds."""
    return AgainstReference(
        times_smaller=reference.bytes / manifest.bytes,
        times_fewer_flops=_times_fewer(reference.flops_per_row, manifest.flops_per_row),
        times_faster={n: times_faster(one, reference_rounds[n]) for n, one in rounds.items()},
        times_the_rate={n: times_the_rate(one, reference_rounds[n]) for n, one in rounds.items()},
    )


def _times_fewer(reference: int | None, flops: int | None) -> float | None:
    return None if reference is None or flops is None else reference / max(1, flops)


def _ends(estimate: Estimate) -> tuple[float, float]:
    """The interval's ends; the value twice where it has none."""
    if estimate.low is None or estimate.high is None:
        return estimate.value, estimate.value
    return estimate.low, estimate.high
