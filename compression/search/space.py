"""The chains a search tries: each technique alone, and followed by one that ends in a graph."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compression.errors import RecipeError
from compression.recipe import parsed_options
from compression.search.config import DEFAULT_SPACE, AutoConfig
from compression.techniques import TECHNIQUES, Technique
from compression.techniques.train import TrainOptions

Step = dict[str, dict[str, Any]]
"""As recipes write it: `{technique: options}`."""
EXPORTED = "original-onnx"
EPOCHS = "epochs"
"""Options of any technique that begin with this say how long it trains."""
LONGEST_NAME = 63


@dataclass(frozen=True)
class Plan:
    """A chain to try, from the original on."""

    name: str
    steps: tuple[Step, ...]
    family: str
    """The plan without its last step, where that ends in a graph: what training they share."""
    share: float = 1.0
    """Of the epochs that the options ask for."""

    def scaled(self, share: float) -> Plan:
        """The same chain trained for a share of its epochs, one at least."""
        if not self.trains:
            return self
        return replace(self, steps=tuple(_scaled(step, share) for step in self.steps), share=share)

    @property
    def trains(self) -> bool:
        """Whether a share of it is less than all of it."""
        return any(
            name.startswith(EPOCHS) and value
            for step in self.steps
            for name, value in _options_of(step).items()
        )


def plans(auto: AutoConfig, sizes: Sequence[dict[str, Any]], source: str) -> tuple[Plan, ...]:
    """All chains of the space; `sizes` are the workload's own students.

    Raises:
        RecipeError: a technique or an option is unknown, or the space has no chain.
    """
    space = _space(auto, sizes, source)
    starts = [
        s for name, steps in space.items() if not TECHNIQUES[name].ends_in_graph for s in steps
    ]
    ends = [s for name, steps in space.items() if TECHNIQUES[name].ends_in_graph for s in steps]
    found = [Plan(EXPORTED, ({"onnx": {}},), EXPORTED)]
    found += [Plan(name, (step,), name) for name, step in ends]
    for start, first in starts:
        found.append(Plan(start, (first,), start))
        found += [Plan(_name(f"{start}-{end}"), (first, last), start) for end, last in ends]
    if len(found) == 1:
        raise RecipeError(f"{source}: auto.space has no technique: nothing can be searched")
    return tuple({plan.name: plan for plan in found}.values())


def _space(
    auto: AutoConfig, sizes: Sequence[dict[str, Any]], source: str
) -> dict[str, list[tuple[str, Step]]]:
    """Named steps by technique, with students filled in."""
    given = auto.space
    if given is None:
        given = {name: options for name, options in DEFAULT_SPACE.items() if name in TECHNIQUES}
    space = {}
    for name, listed in given.items():
        technique = _technique(name, source)
        options = list(_with_students(technique, listed, auto.students or sizes))
        for number, one in enumerate(options):
            where = f"{source}: auto.space.{name}[{number}]"
            parsed_options(technique, one, where, Path(source).parent)
        space[name] = _named(technique, options)
    return space


def _technique(name: str, source: str) -> Technique:
    if name not in TECHNIQUES:
        raise RecipeError(
            f"{source}: auto.space: no technique {name!r}; allowed: {', '.join(sorted(TECHNIQUES))}"
        )
    return TECHNIQUES[name]


def _with_students(
    technique: Technique, listed: Sequence[dict[str, Any]], sizes: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for options in listed:
        if issubclass(technique.options, TrainOptions) and "student" not in options:
            yield from ({**options, "student": size} for size in sizes or ({},))
        else:
            yield options


def _named(technique: Technique, options: Sequence[dict[str, Any]]) -> list[tuple[str, Step]]:
    """Names say what differs between the options of a technique: `prune-remove0.5`."""
    leaves = [dict(_leaves(one)) for one in options]
    keys = sorted({key for one in leaves for key in one})
    differing = [key for key in keys if len({str(one.get(key)) for one in leaves}) > 1]
    named = []
    for one, whole in zip(leaves, options, strict=True):
        parts = [f"{key}{one[key]}" for key in differing if key in one]
        named.append((_name("-".join((technique.name, *parts))), {technique.name: whole}))
    return named


def _leaves(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield key, value


def _name(text: str) -> str:
    """A variant may be called that; too long a name ends in a hash of it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _options_of(step: Step) -> dict[str, Any]:
    ((name, options),) = step.items()
    return TECHNIQUES[name].options.model_validate(options).model_dump()


def _scaled(step: Step, share: float) -> Step:
    ((name, options),) = step.items()
    fewer = {
        key: max(1, round(share * value))
        for key, value in _options_of(step).items()
        if key.startswith(EPOCHS) and isinstance(value, int) and value > 1
    }
    return {name: {**options, **(fewer if share < 1 else {})}}
