"""What a search leaves: results.json, a table of the front, and a recipe that makes it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from compression.recipe import Recipe
from compression.search.attempts import chain_configs
from compression.search.config import Limits
from compression.search.examined import Examined, excesses
from compression.search.space import EXPORTED
from compression.store import Estimate, Gate, Machine, Manifest
from compression.store.manifest import Document
from compression.tables import Cells
from compression.workloads import find_workload
from compression.workloads.userfile import is_user_class

HEADER = """\
# Written by `python -m compression auto {source}`: the front of a search.
# `python -m compression run` makes the same variants from it.
"""


class Tried(Document):
    """A chain that was tried, and what was found; quality is on validation rows."""

    name: str
    steps: tuple[dict[str, dict[str, object]], ...]
    share_of_epochs: float
    """1 if it was trained for as long as the recipe asks."""
    bytes: int
    p50_seconds: float
    p99_seconds: float
    times_faster: Estimate
    ap_ratio: Estimate
    gate: str
    misses: tuple[str, ...]
    """Targets that it misses, in words."""
    on_front: bool


class Judged(Document):
    """A published member of the front, judged once on the test rows."""

    name: str
    ap_ratio: Estimate
    gate: Gate


class SearchResults(Document):
    """results.json of a search."""

    schema_version: int = 1
    recipe: str
    written_recipe_sha256: str
    model: str
    seed: int
    machine: Machine
    targets: dict[str, float | int | None]
    budget_minutes: float | None
    seconds: float
    complete: bool
    """Whether the search ended before its budget did."""
    failed: dict[str, str]
    tried: tuple[Tried, ...]
    front: tuple[str, ...]
    published: tuple[Judged, ...]
    recommended: str | None
    nearest: str
    reason: str


def tried(
    known: Mapping[str, Examined], front: Sequence[Examined], limits: Limits
) -> tuple[Tried, ...]:
    """Every chain's entry, fastest first."""
    on_front = {one.plan.name for one in front}
    return tuple(
        Tried(
            name=one.plan.name,
            steps=tuple(dict(step) for step in one.plan.steps),
            share_of_epochs=one.plan.share,
            bytes=one.bytes,
            p50_seconds=one.p50_seconds,
            p99_seconds=one.p99_seconds,
            times_faster=one.times_faster,
            ap_ratio=one.ap_ratio,
            gate=one.gate,
            misses=tuple(map(str, excesses(one, limits))),
            on_front=one.plan.name in on_front,
        )
        for one in sorted(known.values(), key=lambda one: one.costs[1])
    )


def judged(manifests: Sequence[Manifest], front: Sequence[Examined]) -> tuple[Judged, ...]:
    """The front's members as they were published."""
    by_name = {manifest.name: manifest for manifest in manifests}
    published = [by_name[one.plan.name] for one in front]
    return tuple(
        Judged(
            name=manifest.name,
            ap_ratio=manifest.quality.ratios_to_original["average_precision"],
            gate=manifest.gate,
        )
        for manifest in published
    )


def front_recipe(
    recipe: Recipe, source: str, front: Sequence[Examined], exported: Examined
) -> Recipe:
    """The recipe with the front as its variants, and the original's own graph beside them.

    `source` is the recipe's file: paths that start at its folder become absolute, for the new
    recipe lies elsewhere.
    """
    others = [one.plan for one in front if one.plan.name != EXPORTED]
    # The front's own `bench` and `auto` sections: names of the old recipe mean nothing here.
    cleared = {
        name: Recipe.model_fields[name].get_default(call_default_factory=True)
        for name in ("bench", "auto", "baselines", "champion")
    }
    chains = chain_configs([exported.plan, *others])
    workload = _anywhere(recipe.workload, source)
    return recipe.model_copy(update={**cleared, "variants": chains, "workload": workload})


def _anywhere(workload: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A recipe's workload with no path in it that depends on where the recipe lies."""
    settings = find_workload(workload, source).settings.model_dump(exclude_unset=True)
    name = str(workload["name"])
    if is_user_class(name):
        name = str((Path(source).parent / name).absolute())
    pin = {"sha256": workload["sha256"]} if "sha256" in workload else {}
    return {"name": name, **pin, **_absolute(settings)}


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Mapping):
        return {key: _absolute(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_absolute(part) for part in value]
    return value


def recipe_text(recipe: Recipe, source: str) -> str:
    """YAML that `load_recipe` reads back."""
    left_out = {"bench", "auto", "baselines", "variants"}
    document = recipe.model_dump(mode="json", exclude=left_out, exclude_none=True)
    document["variants"] = {
        name: chain.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for name, chain in recipe.variants.items()
    }
    return HEADER.format(source=source) + yaml.safe_dump(document, sort_keys=False, width=100)


def front_table(results: SearchResults) -> Cells:
    """The front with both judgements, the recommended one marked."""
    headings = (
        "variant", "kB", "p50, 1 row", "p99", "faster", "AP kept, validation", "AP kept, test",
        "gate, test", "misses",
    )  # fmt: skip
    by_name = {one.name: one for one in results.tried}
    test = {one.name: one for one in results.published}
    return Cells(
        "front: quality against latency against size",
        headings,
        tuple(
            _row(by_name[name], test[name], name == results.recommended) for name in results.front
        ),
    )


def _row(one: Tried, test: Judged, recommended: bool) -> tuple[str, ...]:
    return (
        f"→ {one.name}" if recommended else one.name,
        f"{one.bytes / 1e3:,.0f}",
        f"{one.p50_seconds * 1e3:.3f} ms",
        f"{one.p99_seconds * 1e3:.3f} ms",
        f"{one.times_faster.value:.1f}×",
        _kept(one.ap_ratio),
        _kept(test.ap_ratio),
        test.gate.verdict,
        "; ".join(one.misses) or "–",
    )


def _kept(ratio: Estimate) -> str:
    ends = "" if ratio.low is None else f" ({ratio.low:.3f}–{ratio.high:.3f})"
    return f"{ratio.value:.4f}{ends}"
