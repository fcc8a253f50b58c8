"""A bench from recipe to results.json: publish, measure in turns, judge the targets, write."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from compression.artifacts import open_artifact
from compression.bench.latency_rounds import Call, Rounds, measure_rounds
from compression.bench.results import Results, against, variant_result
from compression.bench.table import markdown, other_sizes_table, targets_table, variants_table
from compression.bench.targets import judge_target
from compression.console import bar
from compression.errors import RecipeError
from compression.files import write_whole
from compression.machine import this_machine
from compression.pipeline import run_recipe
from compression.recipe import ORIGINAL, Recipe
from compression.store import Manifest, ModelStore, Samples, VariantFiles

JSON, MARKDOWN = "results.json", "results.md"


def run_bench(
    recipe: Recipe, source: str, store: str, work: Path, out: Path, *, replace: bool
) -> Results:
    """Run the recipe, then measure what was published; writes results.json and results.md.

    Steps of the recipe are cached; the measurement is not, for it must be of one run.

    Raises:
        RecipeError: the reference or a target's variant is not in the recipe.
    """
    check_bench(recipe, source)
    manifests = run_recipe(recipe, source, store, work, replace=replace)
    rounds = measure_published(recipe, store, [manifest.name for manifest in manifests])
    results = _results(recipe, source, manifests, rounds)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / MARKDOWN, markdown(results).encode())
    write_whole(out / JSON, (results.model_dump_json(indent=2) + "\n").encode())
    return results


def check_bench(recipe: Recipe, source: str) -> None:
    """Names in the bench section must be variants; checked before anything is trained."""
    bench = recipe.bench
    named = {"bench.reference": bench.reference}
    named |= {f"bench.targets.{t.name}.variant": t.variant for t in bench.targets if t.variant}
    for key, name in named.items():
        if name not in recipe.variants:
            raise RecipeError(
                f"{source}: {key} is {name!r}, which is not among the variants: "
                f"{', '.join(recipe.variants)}"
            )


def measure_published(recipe: Recipe, store: str, names: list[str]) -> dict[str, dict[int, Rounds]]:
    """Published files, verified and opened, measured in turns on one thread."""
    reader, bench = ModelStore(store), recipe.bench
    samples = reader.samples(recipe.model)
    if max(bench.rows) > len(samples):
        raise RecipeError(
            f"bench.rows has {max(bench.rows)}, but only {len(samples)} rows are published as "
            "samples: give `samples` in the recipe a larger number"
        )
    with one_thread():
        calls = {name: _call(reader.load(recipe.model, name), samples) for name in names}
        with bar(f"{recipe.model}: measuring in turns") as report:
            return measure_rounds(
                calls,
                bench.rows,
                rounds=bench.rounds,
                slice_seconds=bench.slice_seconds,
                report=report,
            )


def _call(files: VariantFiles, samples: Samples) -> Call:
    infer = open_artifact(files.manifest.runtime.engine, files.artifact)
    return lambda rows: infer(samples.rows(0, rows))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as a server's replica runs it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _results(
    recipe: Recipe,
    source: str,
    manifests: tuple[Manifest, ...],
    rounds: Mapping[str, Mapping[int, Rounds]],
) -> Results:
    bench = recipe.bench
    reference = next(manifest for manifest in manifests if manifest.name == bench.reference)
    variants = tuple(
        variant_result(
            manifest,
            rounds[manifest.name],
            against(manifest, rounds[manifest.name], reference, rounds[reference.name]),
        )
        for manifest in manifests
    )
    uncompressed = frozenset({ORIGINAL, reference.name})
    return Results(
        recipe=source,
        recipe_sha256=recipe.sha256,
        model=recipe.model,
        profile=recipe.profile,
        seed=recipe.seed,
        reference=reference.name,
        machine=this_machine(threads=1),
        measured_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        rounds=bench.rounds,
        slice_seconds=bench.slice_seconds,
        test=reference.quality.test,
        gate_bounds=recipe.gate_config.model_dump(mode="json"),
        variants=variants,
        targets=tuple(judge_target(target, variants, uncompressed) for target in bench.targets),
    )


def print_results(results: Results) -> None:
    """Tables to stdout."""
    console = Console()
    variants_table(results).print(console)
    other_sizes_table(results).print(console)
    if results.targets:
        targets_table(results).print(console)
