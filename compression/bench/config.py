"""The `bench` section of a recipe: how to measure, and what is to be reached."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from compression.store.manifest import Name

ROWS_FOR_LATENCY, ROWS_FOR_RATE = 1, 32
"""Batch sizes at which targets for p50 and for rows per second are judged."""
Bound = Annotated[float, Field(gt=0)] | None


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TargetConfig(_Config):
    """What one variant is to reach, all of it relative to the bench's reference or the original.

    Which one: a `variant` by name, or `choose`: `passing` is the variant that comes closest to
    all bounds among those that pass the quality gate, `smallest` the one of the fewest bytes.
    """

    name: str
    variant: Name | None = None
    choose: Literal["passing", "smallest"] | None = None
    times_smaller: Bound = None
    times_faster: Bound = None
    """p50 at 1 row."""
    times_the_rate: Bound = None
    """Rows per second at 32 rows."""
    times_fewer_flops: Bound = None
    ap_ratio: Bound = None
    """Average precision as a share of the original's, on the test rows."""
    distinct_scores_ratio: Bound = None

    @model_validator(mode="after")
    def _one_subject(self) -> TargetConfig:
        if (self.variant is None) == (self.choose is None):
            raise ValueError("give either variant: NAME or choose: passing | smallest")
        return self


class BenchConfig(_Config):
    """Defaults measure; without targets none is judged."""

    reference: Name = "original-onnx"
    """The variant that all ratios are against: the original's own graph, uncompressed."""
    rows: tuple[PositiveInt, ...] = (ROWS_FOR_LATENCY, ROWS_FOR_RATE)
    rounds: int = Field(default=7, ge=5)
    slice_seconds: float = Field(default=0.3, gt=0)
    """How long a variant is called at a time."""
    targets: tuple[TargetConfig, ...] = ()

    @model_validator(mode="after")
    def _judged_sizes(self) -> BenchConfig:
        lacking = {ROWS_FOR_LATENCY, ROWS_FOR_RATE} - set(self.rows)
        if lacking:
            raise ValueError(f"rows must have {ROWS_FOR_LATENCY} and {ROWS_FOR_RATE} among them")
        return self
