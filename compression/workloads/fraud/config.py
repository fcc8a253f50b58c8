"""Settings of the fraud workload, as a recipe gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from compression.workloads.fraud.simulator import SimulatorConfig
from compression.workloads.fraud.splits import SplitConfig

SHIPPED_ORIGINAL = Path(__file__).parent / "original"


class FraudConfig(BaseModel):
    """Frozen; unknown keys are errors. `data` is the user's file, otherwise data is simulated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["fraud"] = "fraud"
    data: Path | None = None
    """Parquet or CSV of transactions; None simulates."""
    columns: dict[str, str] = {}
    """Published column name → the file's own name."""
    simulator: SimulatorConfig = SimulatorConfig()
    history_length: int = Field(default=32, ge=1, le=512)
    split: SplitConfig = SplitConfig()
    original: Path = SHIPPED_ORIGINAL
    """Folder with the trained original: model.safetensors and training.json."""


class StudentConfig(BaseModel):
    """Sizes of a student, a transformer like the original; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: PositiveInt = 64
    layers: PositiveInt = 1
    heads: PositiveInt = 4
    feed_forward: PositiveInt = 128

    @model_validator(mode="after")
    def _whole_heads(self) -> StudentConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self
