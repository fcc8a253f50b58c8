"""Settings of the fraud workload, as a recipe gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from compression.validation import RecipePath
from compression.workloads.fraud.simulator import SimulatorConfig
from compression.workloads.fraud.splits import SplitConfig

SHIPPED_ORIGINAL = Path(__file__).parent / "original"


class FraudConfig(BaseModel):
    """Frozen; unknown keys are errors. `data` is the user's file, otherwise data is simulated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: RecipePath | None = None
    """Parquet or CSV of transactions; None simulates."""
    columns: dict[str, str] = {}
    """Published column name → the file's own name."""
    simulator: SimulatorConfig = SimulatorConfig()
    history_length: int = Field(default=32, ge=1, le=512)
    split: SplitConfig = SplitConfig()
    original: RecipePath = SHIPPED_ORIGINAL
    """Folder with the trained original: model.safetensors and training.json."""


class StudentConfig(BaseModel):
    """A student's architecture and sizes; unknown keys are errors.

    `transformer` is one like the original. `reader` reads the history with one question a hop,
    see `compression.models.reader`; `head_width` and `recent_rows` are its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["transformer", "reader"] = "transformer"
    width: PositiveInt = 64
    layers: PositiveInt = 1
    """Blocks of the transformer, hops of the reader."""
    heads: PositiveInt = 4
    feed_forward: PositiveInt = 128
    head_width: PositiveInt = 16
    recent_rows: int = Field(default=8, ge=0)
    """Last rows of the history that stand beside the transaction as they are."""

    @model_validator(mode="after")
    def _fits_its_architecture(self) -> StudentConfig:
        if self.architecture == "transformer":
            if self.width % self.heads:
                raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
            foreign = {"head_width", "recent_rows"} & self.model_fields_set
            if foreign:
                raise ValueError(f"{', '.join(sorted(foreign))}: of the reader, not a transformer")
        return self
