"""The `auto` section of a recipe: targets, what to search, and for how long."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

DEFAULT_SPACE: dict[str, tuple[dict[str, Any], ...]] = {
    # Not dynamic: a row's score would depend on the rows beside it.
    "quantize": ({"method": "static", "float_layers": "auto"},),
    "distill": ({},),
    "prune": ({"remove": 0.3}, {"remove": 0.5}, {"remove": 0.7}),
    "factorize": ({},),
}
"""For recipes that name no space; of it, the techniques that there are."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(_Config):
    """What a variant must keep to; None does not bound."""

    max_ap_loss: float | None = Field(default=None, ge=0, lt=1)
    """Share of the original's average precision that may go."""
    p99_ms: float | None = Field(default=None, gt=0)
    """Model-only, at 1 row, on one thread of this machine; milliseconds."""
    max_bytes: PositiveInt | None = None
    """Of the file that is served."""


class AutoConfig(_Config):
    """Search by successive halving: all chains briefly, the better half of them longer."""

    targets: Limits = Limits()
    space: dict[str, tuple[dict[str, Any], ...]] | None = None
    """Technique → options to try, `{}` for its defaults. Those that train are tried alone and
    followed by each that ends in a graph (quantize). List cheap ones first."""
    students: tuple[dict[str, Any], ...] = ()
    """Sizes for techniques that take a student and are not given one; the workload's own if
    none are listed."""
    budget_minutes: float | None = Field(default=None, gt=0)
    """Nothing is trained after that; what is finished is compared."""
    rungs: Annotated[tuple[float, ...], Field(min_length=1)] = (0.25, 1.0)
    """Shares of the epochs that the options ask for; half of the chains go on to the next."""
    rounds: int = Field(default=5, ge=5)
    slice_seconds: float = Field(default=0.2, gt=0)
    """How long a variant is called at a time when all are measured in turns."""

    @model_validator(mode="after")
    def _rising_to_all(self) -> Self:
        rising = all(a < b for a, b in zip(self.rungs, self.rungs[1:], strict=False))
        if not rising or self.rungs[0] <= 0 or self.rungs[-1] != 1:
            raise ValueError("rungs must rise from above 0 to 1, e.g. [0.25, 1.0]")
        return self
