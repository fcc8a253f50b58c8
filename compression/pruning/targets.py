"""When a model is small enough: bounds on speed, size, parameters or work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from compression.graphs.inspect import flops_per_row
from compression.graphs.paired import compare_graphs


@dataclass(frozen=True)
class Figures:
    """What a model costs. `speedup` is p50 of the model it started from over its own, one row."""

    parameters: int
    bytes: int
    """Of the fp32 ONNX file."""
    flops: int
    """Per row; a multiply-add is two."""
    speedup: float
    speedup_low: float
    speedup_high: float

    def to_dict(self) -> dict[str, float | int]:
        """Plain values, for records and notes."""
        return asdict(self)


class Targets(BaseModel):
    """All that are set must hold; at least one must be set."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    speedup: float | None = Field(default=None, gt=1)
    """At least: p50 at one row in ONNX Runtime, against the graph pruning started from."""
    bytes: int | None = Field(default=None, ge=1)
    """At most: size of the fp32 ONNX file."""
    parameters: int | None = Field(default=None, ge=1)
    """At most."""
    flops: int | None = Field(default=None, ge=1)
    """At most: per row, a multiply-add is two."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.bounds():
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"a target needs at least one of {names}, e.g. {{speedup: 2.0}}")
        return self

    def bounds(self) -> dict[str, float | int]:
        """The bounds that are set, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def missed(self, figures: Figures) -> tuple[str, ...]:
        """Names of the bounds that `figures` do not meet; () means that the target is met."""
        return tuple(
            name
            for name, bound in self.bounds().items()
            if not _holds(name, getattr(figures, name), bound)
        )


def _holds(name: str, value: float, bound: float) -> bool:
    return value >= bound if name == "speedup" else value <= bound


def measure(
    graph: bytes,
    start: bytes,
    parameters: int,
    row: Mapping[str, npt.NDArray[Any]],
    seconds: float,
) -> Figures:
    """Figures of an fp32 ONNX file beside the one it started from, on inputs of one row."""
    # The start's seconds over the model's own: how many times faster it is.
    speedup = compare_graphs(graph, start, row, seconds).ratio
    return Figures(
        parameters=parameters,
        bytes=len(graph),
        flops=flops_per_row(graph),
        speedup=speedup.value,
        speedup_low=speedup.low or speedup.value,
        speedup_high=speedup.high or speedup.value,
    )
