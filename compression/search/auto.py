"""A search from recipe to recommendation: try, halve, measure in turns, publish the front."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from compression.console import Stages, console
from compression.errors import TargetsMissedError
from compression.files import write_whole
from compression.machine import this_machine
from compression.pipeline import Bench, run_recipe
from compression.recipe import Recipe, load_recipe
from compression.search.attempts import Attempts, deadline_in, tell_failed
from compression.search.config import AutoConfig
from compression.search.examined import Examined, front
from compression.search.halving import halve
from compression.search.plot import draw
from compression.search.recommend import recommend
from compression.search.results import (
    SearchResults,
    front_recipe,
    front_table,
    judged,
    recipe_text,
    tried,
)
from compression.search.space import EXPORTED, plans
from compression.store import Manifest
from compression.validation import validate

RECIPE, JSON = "recipe.yaml", "results.json"


def run_auto(recipe: Recipe, source: str, store: str, work: Path, out: Path) -> SearchResults:
    """Search by the recipe's `auto` section, publish the front, write what was found.

    Chains are chosen on validation rows and measured latencies. Only then the front's members are
    run as a recipe of their own, `out/recipe.yaml`, and judged on the test rows once. Finished
    steps are cached in `work`: an interrupted search goes on there.

    Raises:
        TargetsMissedError: nothing was finished within the budget.
    """
    started = time.monotonic()
    known, failed = _search(recipe, source, work)
    tell_failed(failed)
    best = front(list(known.values()))
    out.mkdir(parents=True, exist_ok=True)
    # Read back, so that what is published is what the file says.
    text = recipe_text(front_recipe(recipe, source, best, known[EXPORTED]), source)
    write_whole(out / RECIPE, text.encode())
    written = load_recipe(out / RECIPE)
    manifests = run_recipe(written, str(out / RECIPE), store, work, replace=True)
    chosen = recommend(best, recipe.auto.targets)
    results = SearchResults(
        recipe=source,
        written_recipe_sha256=written.sha256,
        model=recipe.model,
        seed=recipe.seed,
        machine=this_machine(threads=1),
        targets=recipe.auto.targets.model_dump(),
        budget_minutes=recipe.auto.budget_minutes,
        seconds=time.monotonic() - started,
        complete=not failed,
        failed=failed,
        tried=tried(known, best, recipe.auto.targets),
        front=tuple(one.plan.name for one in best),
        published=judged(manifests, best),
        recommended=chosen.name,
        nearest=chosen.nearest,
        reason=chosen.reason + _on_test(chosen.name, manifests),
    )
    write_whole(out / JSON, (results.model_dump_json(indent=2) + "\n").encode())
    draw(results, out)
    return results


def _search(
    recipe: Recipe, source: str, work: Path
) -> tuple[Mapping[str, Examined], dict[str, str]]:
    """Chains by name, latencies measured in turns, and why others are not finished."""
    auto = recipe.auto
    deadline = deadline_in(auto.budget_minutes)
    with Stages() as stages:
        bench = Bench.of(recipe, source, work, stages)
        context, workers = bench.context, bench.workers
        chains = plans(auto, context.workload.student_sizes, source)
        with stages.stage("original: scoring validation") as advance:
            context.original_outputs(advance, workers)
        attempts = Attempts(recipe, source, context, stages, workers, deadline)
        known = halve(chains, auto.rungs, auto.targets, attempts)
        if EXPORTED not in known:
            raise TargetsMissedError(
                f"the budget of {auto.budget_minutes:g} minutes was over before the original's "
                f"own graph was judged ({attempts.failed.get(EXPORTED)}): give --budget-minutes "
                "more; what is cached is found again"
            )
        return attempts.measured(known), attempts.failed


def _on_test(name: str | None, manifests: tuple[Manifest, ...]) -> str:
    """What the test rows say of the recommended variant; they had no part in choosing it."""
    if name is None:
        return ""
    manifest = next(manifest for manifest in manifests if manifest.name == name)
    ratio = manifest.quality.ratios_to_original["average_precision"].value
    return (
        f". On the test rows, read once, it keeps {100 * ratio:.2f} % and the gate "
        f"{manifest.gate.verdict}"
    )


def with_targets(recipe: Recipe, given: Mapping[str, float | int | None]) -> Recipe:
    """The recipe with what the command line says put over its `auto` section."""
    budget = given.get("budget_minutes")
    targets = {name: value for name, value in given.items() if name != "budget_minutes"}
    targets = {name: value for name, value in targets.items() if value is not None}
    auto = recipe.auto.model_dump()
    auto["targets"] |= targets
    if budget is not None:
        auto["budget_minutes"] = budget
    return recipe.model_copy(update={"auto": validate(AutoConfig, auto, "auto")})


def print_search(results: SearchResults, out: Path) -> None:
    """The front to stdout, the recommendation, and where the rest is.

    Raises:
        TargetsMissedError: no variant meets the targets.
    """
    front_table(results).print(Console())
    console.print(f"recipe, results and plot in {out}", soft_wrap=True)
    if results.recommended is None:
        raise TargetsMissedError(results.reason)
    Console(markup=False, highlight=False).print(f"recommended: {results.reason}", soft_wrap=True)
