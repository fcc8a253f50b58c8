"""A study's YAML: one student, one training, and the ways (`arms`) in which they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from compression.errors import RecipeError
from compression.recipe import ORIGINAL, Recipe, ValidationConfig, check
from compression.store.manifest import Name
from compression.validation import validate


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(_Config):
    """One way to train: a technique, and its options beyond those that all arms share."""

    technique: Literal["train", "distill"]
    options: dict[str, Any] = {}
    against: Name | None = None
    """The arm it is held against, of as many steps; None: the study's."""
    description: str = ""


class Study(_Config):
    """A parsed study, version 1."""

    version: Literal[1]
    seed: int = Field(default=0, ge=0)
    workload: dict[str, Any]
    validation: ValidationConfig = ValidationConfig()
    training: dict[str, Any]
    """Options that all arms share: the student and its training."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=2)]
    against: Name
    arms: dict[Name, Arm]

    @model_validator(mode="after")
    def _held_against_arms(self) -> Self:
        for name in (self.against, *(arm.against for arm in self.arms.values())):
            if name is not None and name not in self.arms:
                raise ValueError(f"against: no arm {name!r}; there are {', '.join(self.arms)}")
        return self

    def opponent(self, arm: str) -> str:
        """The arm that `arm` is held against."""
        return self.arms[arm].against or self.against

    @property
    def recipe(self) -> Recipe:
        """Every arm with every seed as a chain of one step."""
        variants: dict[str, Any] = {ORIGINAL: {}}
        for name, arm in self.arms.items():
            for seed in self.seeds:
                options = {**self.training, **arm.options, "seed": seed}
                variants[run_name(name, seed)] = {
                    "from": ORIGINAL,
                    "steps": [{arm.technique: options}],
                }
        return Recipe.model_validate(
            {
                "version": 1,
                "model": "study",
                "profile": "study",
                "seed": self.seed,
                "workload": self.workload,
                "validation": self.validation.model_dump(),
                "variants": variants,
            }
        )


def run_name(arm: str, seed: int) -> str:
    """Name of one training."""
    return f"{arm}-{seed}"


def load_study(path: Path) -> Study:
    """Read and check a study; nothing is trained.

    Raises:
        RecipeError: names the file, the key, and the allowed values.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read study {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    study = validate(Study, document, str(path))
    check(study.recipe, str(path))
    return study
