"""What can be said about a quantisation. Which field counts for which method, methods say."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    computed_field,
    field_validator,
    model_validator,
)

from compression.quantisation.calibration import NAMED

MethodName = Literal["dynamic", "static", "qat", "auto", "weight_only", "fp16", "fp16_weights"]
RangeMethodName = Literal["minmax", "percentile", "entropy"]


class QuantisationOptions(BaseModel):
    """Frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodName = "static"
    per_channel: bool = True
    """A scale for each output of a layer, not one for all of it."""
    reduce_range: bool = False
    """7-bit weights, for CPUs without VNNI, where 8-bit products overflow."""
    float_layers: NonNegativeInt | Literal["auto"] = 1
    """Products left in float: the last so many, or by their measured effect on the output."""
    output_error: float = Field(default=0.02, gt=0)
    """Bound for `float_layers: auto`: root mean square of the change of the outputs on the
    calibration rows, as a share of the outputs' standard deviation."""
    calibration: str = "train"
    """`train`, `validation`, `recent`, or the path of a .npz with an array for each input."""
    calibration_rows: int = Field(default=512, ge=1)
    calibration_method: RangeMethodName = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Share of an activation's values, in percent, at most its upper bound; likewise below."""
    max_drift: Annotated[float, Field(gt=0)] | None = 0.25
    """Bound on the population stability index between calibration set and training window, per
    feature; None leaves the comparison out."""
    bits: Literal[4, 8] = 8
    """Of a weight, for `weight_only`."""
    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Weights that share a scale, for `weight_only`."""

    @field_validator("calibration")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in NAMED or (name.endswith(".npz") and Path(name).is_file()):
            return name
        known = ", ".join(NAMED)
        raise ValueError(f"no such calibration set: give {known}, or the path of a .npz file")

    @model_validator(mode="after")
    def _measured_only_where_it_can_be(self) -> Self:
        if self.float_layers == "auto" and self.method not in ("static", "qat", "auto"):
            raise ValueError(
                f"float_layers: auto is measured on a calibration set, which method {self.method} "
                "has not: give a number"
            )
        return self

    @property
    def last_float(self) -> int:
        """How many of the last products stay in float, where that is not measured; at least one
        where it is."""
        return 1 if self.float_layers == "auto" else self.float_layers

    @computed_field  # type: ignore[prop-decorator]
    @property
    def calibration_sha256(self) -> str | None:
        """Hash of the calibration file, so that results made of another one are not taken."""
        if self.calibration in NAMED:
            return None
        return hashlib.sha256(Path(self.calibration).read_bytes()).hexdigest()
