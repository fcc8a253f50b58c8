"""The quality gate: what a variant must keep of the original to be served.

Every condition is 'at least'. A figure that is absent or NaN fails its check; since documents
hold no NaN, it is written as NOT_MEASURED.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compression.errors import RecipeError
from compression.store.manifest import Gate, GateCheck, Quality

NOT_MEASURED = -1.0
REFERENCE = Gate(verdict="reference")
"""Verdict of the original, which is not judged."""


class GateConfig(BaseModel):
    """Lower bounds, all relative to the original; None leaves a condition out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    average_precision_ratio: float | None = Field(default=0.99, ge=0)
    average_precision_ratio_low: float | None = Field(default=0.98, ge=0)
    """Bound for the lower end of the ratio's 95 % interval: the evidence must suffice."""
    auc_ratio: float | None = Field(default=0.995, ge=0)
    distinct_scores_ratio: float | None = Field(default=0.5, ge=0)
    """Against scores so coarse that no threshold gives the alert rate wanted."""
    decision_agreement: float | None = Field(default=None, ge=0, le=1)
    """Share of rows decided as the original decides them."""
    worst_segment_ratio: float | None = Field(default=None, ge=0)
    """Ratio of average precision in the segment that keeps the least, of those large enough to
    tell; fails where the workload has no such segment."""

    @classmethod
    def preset(cls, name: str) -> GateConfig:
        """A named configuration of PRESETS; RecipeError names those there are."""
        if name not in PRESETS:
            raise RecipeError(f"gate: no preset {name!r}; allowed: {', '.join(sorted(PRESETS))}")
        return PRESETS[name]


PRESETS: Mapping[str, GateConfig] = MappingProxyType(
    {
        "default": GateConfig(),
        # MLPerf Inference's high-accuracy target, 99.9 % of the reference's; the interval's
        # bound is ours.
        "mlperf-99.9": GateConfig(
            average_precision_ratio=0.999, average_precision_ratio_low=0.99, auc_ratio=0.999
        ),
    }
)


def config_of(preset: str | None, bounds: Mapping[str, float], otherwise: GateConfig) -> GateConfig:
    """`otherwise`, or the preset where one is named, with single bounds changed.

    Raises:
        RecipeError: no such preset, no such bound, or a bound that is out of range.
    """
    config = otherwise if preset is None else GateConfig.preset(preset)
    unknown = sorted(set(bounds) - set(GateConfig.model_fields))
    if unknown:
        allowed = ", ".join(GateConfig.model_fields)
        raise RecipeError(f"gate: no bound {unknown[0]!r}; allowed: {allowed}")
    try:
        return GateConfig.model_validate(config.model_dump() | dict(bounds))
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(
            f"gate: {first['loc'][0]}: {first['msg']} (given: {first['input']!r})"
        ) from error


def judge(quality: Quality, config: GateConfig) -> Gate:
    """Hold a variant's quality against the bounds: one check per condition that is set."""
    checks = tuple(_checks(quality, config))
    return Gate(verdict="passed" if all(c.passed for c in checks) else "failed", checks=checks)


def _checks(quality: Quality, config: GateConfig) -> Iterator[GateCheck]:
    figures = _figures(quality)
    for name in GateConfig.model_fields:
        bound = getattr(config, name)
        if bound is not None:
            figure = figures[name]
            value = figure if figure is not None and math.isfinite(figure) else NOT_MEASURED
            yield GateCheck(name=name, value=value, bound=bound, passed=value >= bound)


def _figures(quality: Quality) -> dict[str, float | None]:
    """What the conditions look at, by name; None where it was not measured."""
    precision = quality.ratios_to_original.get("average_precision")
    auc = quality.ratios_to_original.get("auc")
    original = quality.distinct_scores_original
    return {
        "average_precision_ratio": precision.value if precision else None,
        "average_precision_ratio_low": precision.low if precision else None,
        "auc_ratio": auc.value if auc else None,
        "distinct_scores_ratio": quality.distinct_scores / original if original else None,
        "decision_agreement": quality.decision_agreement,
        "worst_segment_ratio": quality.worst_segment.ratio if quality.worst_segment else None,
    }
