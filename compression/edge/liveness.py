"""How many bytes of a graph's values are alive at once, at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One node of a graph, as it is executed: the values that it reads and makes, by name."""

    name: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]


@dataclass(frozen=True)
class Peak:
    """Most bytes alive at once, and the step that runs then."""

    bytes: int
    step: str


def peak(
    steps: Sequence[Step], sizes: Mapping[str, int], given: Collection[str], kept: Collection[str]
) -> Peak:
    """Walk the steps in order and find where most bytes are alive.

    A value lives from the step that makes it to the last that reads it; `given` (the graph's
    inputs) from before the first step, `kept` (its outputs) to the end. No value takes another's
    place: a runtime that computes in place needs less. Values without a size, such as weights,
    count nothing. `sizes` in bytes.
    """
    last = _last_reads(steps)
    alive = {name: sizes.get(name, 0) for name in given}
    total = sum(alive.values())
    highest = Peak(total, steps[0].name if steps else "")
    for number, step in enumerate(steps):
        for name in step.makes:
            alive[name] = sizes.get(name, 0)
            total += alive[name]
        if total > highest.bytes:
            highest = Peak(total, step.name)
        for name in {*step.reads, *step.makes}:
            if name not in kept and name in alive and last.get(name, -1) <= number:
                total -= alive.pop(name)
    return highest


def _last_reads(steps: Iterable[Step]) -> dict[str, int]:
    return {name: number for number, step in enumerate(steps) for name in step.reads}
