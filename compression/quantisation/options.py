"""What can be said about a quantisation. Which field counts for which method, methods say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PrivateAttr,
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
    """`train`, `validation`, `recent`, or the path of a .npz with an array for each input,
    relative to the recipe."""
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

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Take the recipe's folder from the validation context, see `compression.validation`."""
        self._folder = Path((context or {}).get("folder") or "")

    @property
    def calibration_file(self) -> Path | None:
        """The file that `calibration` names; None for a set drawn from the workload."""
        return None if self.calibration in NAMED else self._folder / self.calibration

    @model_validator(mode="after")
    def _there(self) -> Self:
        file = self.calibration_file
        if file is not None and not (file.suffix == ".npz" and file.is_file()):
            raise ValueError(
                f"calibration: there is no set {self.calibration!r}: give {', '.join(NAMED)}, or "
                "the path of a .npz file, relative to the recipe"
            )
        return self

    @model_validator(mode="after")
    def _measured_only_where_it_can_be(self) -> Self:
        if self.float_layers == "auto" and self.method not in ("static", "qat", "auto"):
            raise ValueError(
                f"float_layers: auto is measured on a calibration set, which method {self.method} "
                "has not: give a number"
            )
        return self

    @property
    def reach(self) -> int:
        """Largest magnitude of a rounded weight."""
        return 64 if self.reduce_range else 127

    @property
    def last_float(self) -> int:
        """How many of the last products stay in float, where that is not measured; at least one
        where it is."""
        return 1 if self.float_layers == "auto" else self.float_layers
