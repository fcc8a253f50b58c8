"""Recipes: which workload, which variants by which chains, which gate. YAML, version 1.

Everything is checked before anything is trained: unknown keys, missing parents, techniques that
cannot follow each other, options that a technique does not have.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from compression.bench.config import BenchConfig
from compression.errors import RecipeError
from compression.quality.gate import GateConfig
from compression.search.config import AutoConfig
from compression.store.manifest import Name
from compression.techniques import TECHNIQUES, Technique
from compression.techniques.base import Options
from compression.techniques.train import TrainOptions
from compression.validation import validate
from compression.workloads import Chosen, find_workload

ORIGINAL = "original"


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ChainConfig(_Config):
    """A chain: `from` a variant, `steps` of one technique each, `{technique: options}`."""

    parent: Annotated[Name | None, Field(alias="from")] = None
    steps: tuple[dict[str, dict[str, Any] | None], ...] = ()
    description: str = ""

    @property
    def imports(self) -> bool:
        """Whether it starts with a file from elsewhere, and so at no variant."""
        return bool(self.steps) and "import" in self.steps[0]


class TestConfig(_Config):
    """How the test weeks are read. `rows` None scores every row."""

    __test__ = False  # not a test case, whatever its name suggests to pytest

    rows: int | None = Field(default=None, ge=1000)
    """Size of a weighted sample: all positives, negatives by how much they matter."""
    replicates: int = Field(default=500, ge=100)


class ValidationConfig(_Config):
    """Rows on which calibration and thresholds are chosen; `negatives` None takes all."""

    negatives: int | None = Field(default=None, ge=1000)


def _named(workload: Any) -> Any:
    return {"name": workload} if isinstance(workload, str) else workload


class Recipe(_Config):
    """A parsed recipe. Relative paths in it start at its folder."""

    version: Literal[1]
    model: Name
    profile: str = "full"
    """Named in the report, so that a quick run is not taken for a thorough one."""
    seed: int = Field(default=0, ge=0)
    champion: Name = ORIGINAL
    gate: str | dict[str, Any] = "default"
    """A preset's name, or bounds of one's own."""
    workload: Annotated[dict[str, Any], BeforeValidator(_named)]
    """`name`, which may be all there is (`workload: fraud`), and the workload's own settings."""
    test: TestConfig = TestConfig()
    validation: ValidationConfig = ValidationConfig()
    samples: int = Field(default=1000, ge=32, le=20_000)
    latency_rows: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 32)
    latency_seconds: float = Field(default=2.0, gt=0)
    """Time spent measuring the model-only latency of each batch size."""
    variants: dict[Name, ChainConfig]
    baselines: dict[Name, ChainConfig] = {}
    bench: BenchConfig = BenchConfig()
    """How `bench` measures; no variant depends on it."""
    auto: AutoConfig = AutoConfig()
    """What `auto` searches; no variant depends on it."""

    @property
    def gate_config(self) -> GateConfig:
        """The gate's bounds."""
        if isinstance(self.gate, str):
            return GateConfig.preset(self.gate)
        return validate(GateConfig, self.gate, "gate")

    @property
    def sha256(self) -> str:
        """Hash of everything the recipe says about its variants."""
        text = json.dumps(self.model_dump(mode="json", exclude={"auto", "bench"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def chains(self) -> dict[str, ChainConfig]:
        """Variants and baselines, parents before children."""
        return {**self.variants, **self.baselines}


def parsed_steps(
    source: str, name: str, chain: ChainConfig
) -> tuple[tuple[Technique, Options], ...]:
    """A chain's techniques with their checked options.

    Files that options name are relative to the folder of `source`, the recipe's file.
    """
    return tuple(
        _step(source, f"{name}.steps[{index}]", step) for index, step in enumerate(chain.steps)
    )


def _step(
    source: str, where: str, step: dict[str, dict[str, Any] | None]
) -> tuple[Technique, Options]:
    if len(step) != 1:
        raise RecipeError(f"{source}: {where} must name one technique, it has {sorted(step)}")
    ((technique_name, options),) = step.items()
    technique = TECHNIQUES.get(technique_name)
    if technique is None:
        raise RecipeError(
            f"{source}: {where}: no technique {technique_name!r}; "
            f"allowed: {', '.join(sorted(TECHNIQUES))}"
        )
    where = f"{source}: {where}.{technique_name}"
    return technique, parsed_options(technique, options, where, Path(source).parent)


def parsed_options(
    technique: Technique, options: dict[str, Any] | None, where: str, folder: Path
) -> Options:
    """A technique's checked options, None for its defaults; relative paths start at `folder`."""
    return validate(technique.options, options or {}, where, folder=folder)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file.

    A workload in the user's own file is pinned by the file's hash, so that the recipe's hash is
    of that, too.

    Raises:
        RecipeError: names the file, the key, and the allowed values.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise RecipeError(f"{path} must be a mapping with version, model, workload, variants")
    recipe = validate(Recipe, document, str(path))
    return pinned(recipe, check(recipe, str(path)))


def pinned(recipe: Recipe, chosen: Chosen) -> Recipe:
    """The recipe with the hash of the user's file that its workload stands in, if it does."""
    if chosen.sha256 is None:
        return recipe
    return recipe.model_copy(update={"workload": recipe.workload | {"sha256": chosen.sha256}})


def importing(recipe: Recipe, source: str, file: Path, name: str) -> Recipe:
    """The recipe with the original and one more variant alone: an ONNX file as it is.

    Raises:
        RecipeError: the recipe has a variant of that name which is not this import.
    """
    relative = os.path.relpath(file, Path(source).parent)
    chain = ChainConfig(steps=({"import": {"file": relative}},))
    if name in recipe.chains():
        raise RecipeError(
            f"{source} has {name!r} itself: give the import another name, or run the recipe"
        )
    document = recipe.model_dump() | {
        "variants": {ORIGINAL: recipe.variants[ORIGINAL], name: chain},
        "baselines": {},
        "champion": ORIGINAL,
    }
    alone = validate(Recipe, document, source)
    check(alone, source)
    return alone


def check(recipe: Recipe, source: str) -> Chosen:
    """The checks that go beyond types: workload, gate, parents, order of techniques."""
    chosen = find_workload(recipe.workload, source)
    try:
        recipe.gate_config  # noqa: B018
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error
    _check_names(recipe, source, chosen)
    if recipe.variants.get(ORIGINAL, ChainConfig(steps=({},))).steps:
        raise RecipeError(
            f"{source}: variants must have {ORIGINAL!r} with no steps: the original is what all "
            "others are held against"
        )
    if recipe.champion not in recipe.variants:
        raise RecipeError(
            f"{source}: champion {recipe.champion!r} is not among the variants: "
            f"{', '.join(recipe.variants)}"
        )
    _check_chains(recipe, source, chosen.kind.student_type)
    return chosen


def _check_names(recipe: Recipe, source: str, chosen: Chosen) -> None:
    twice = sorted(set(recipe.variants) & set(recipe.baselines))
    if twice:
        raise RecipeError(f"{source}: {', '.join(twice)}: a name of both a variant and a baseline")
    baseline = chosen.kind.baseline_name
    if baseline in recipe.chains():
        raise RecipeError(
            f"{source}: {baseline} is the name of the workload's own baseline: take another"
        )


def _check_import(name: str, chain: ChainConfig, source: str) -> None:
    if any("import" in step for step in chain.steps[1:]):
        raise RecipeError(f"{source}: {name}: import starts a chain, it must be the first step")
    if chain.imports and chain.parent is not None:
        raise RecipeError(
            f"{source}: {name} starts with import, not at {chain.parent!r}: leave `from` out"
        )


def _check_chains(recipe: Recipe, source: str, student: type[BaseModel]) -> None:
    ends_in_graph: dict[str, bool] = {}
    for name, chain in recipe.chains().items():
        _check_import(name, chain, source)
        if chain.parent is None and not chain.imports and name not in (ORIGINAL, *recipe.baselines):
            raise RecipeError(f"{source}: {name} needs `from`: the variant its chain starts at")
        parent = chain.parent or ORIGINAL
        if name != ORIGINAL and parent not in ends_in_graph:
            raise RecipeError(
                f"{source}: {name}.from is {parent!r}, which is not defined before it; "
                f"allowed: {', '.join(ends_in_graph)}"
            )
        finished = ends_in_graph.get(parent, False)
        for technique, options in parsed_steps(source, name, chain):
            if isinstance(options, TrainOptions):
                validate(student, options.student, f"{source}: {name}: {technique.name}.student")
            if finished:
                raise RecipeError(
                    f"{source}: {name}: {technique.name} cannot follow a technique that ends in "
                    "a graph (onnx, quantize, import): nothing can be trained, exported or "
                    "quantised after it"
                )
            finished = technique.ends_in_graph
        ends_in_graph[name] = finished
