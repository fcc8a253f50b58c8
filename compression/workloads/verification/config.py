"""Settings of the verification workload, as a recipe gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from compression.validation import RecipePath
from compression.workloads.verification.pairs import PairConfig
from compression.workloads.verification.pictures import PictureConfig

SHIPPED_ORIGINAL = Path(__file__).parent / "original"
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=5)]


class FamilyConfig(BaseModel):
    """How many families of look-alikes each window has; the windows share none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(default=1600, ge=2)
    validation: int = Field(default=75, ge=2)
    test: int = Field(default=200, ge=2)
    a_day: PositiveInt = 10
    """Families enrolled a day, in the order of the windows."""

    @property
    def total(self) -> int:
        """Of all windows."""
        return self.train + self.validation + self.test


class VerificationConfig(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: PictureConfig = PictureConfig()
    families: FamilyConfig = FamilyConfig()
    pairs: PairConfig = PairConfig()
    original: RecipePath = SHIPPED_ORIGINAL
    """Folder with the trained original: model.safetensors and training.json."""

    @model_validator(mode="after")
    def _enough_pictures(self) -> VerificationConfig:
        if self.pairs.same >= self.pictures.pictures:
            raise ValueError(
                f"pairs.same is {self.pairs.same}: an identity has {self.pictures.pictures} "
                "pictures, so at most one fewer others; lower it or raise pictures.pictures"
            )
        return self


class StudentConfig(BaseModel):
    """Sizes of a student, a siamese network like the original; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths = (8, 16, 32)
    """Channels of each stage; every stage halves the picture."""
    convolutions: PositiveInt = 1
    """In each stage."""
    embedding: PositiveInt = 32
