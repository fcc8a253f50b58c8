"""The course of iterative pruning: what is left after a round, when to stop, what to keep."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from compression.pruning.dependencies import Structure
from compression.pruning.targets import Figures, Targets

Plan = dict[str, int]
"""Units left, by structure."""
Reason = Literal["target met", "gate", "rounds used up", "nothing left to remove"]


class RoundRecord(BaseModel):
    """One finished round: what was left, what the model cost then, what the gate said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    left: Plan
    figures: Figures
    gate: Literal["passed", "failed"] | None = None
    """On validation rows; None where nobody asked."""
    broken: tuple[str, ...] = ()
    """The gate's conditions that did not hold."""
    training_seconds: float

    @property
    def held(self) -> bool:
        """Whether the gate did not fail."""
        return self.gate != "failed"


def plans(
    structures: Sequence[Structure],
    share_left: Callable[[int], float],
    steps: int | None,
    most: int,
) -> list[Plan]:
    """What is left after each round, at most `most` of them.

    `share_left(step)` is a share of the units there were at first, so that rounding does not add
    up. Steps 1, 2, … that change nothing make no round; `steps` bounds them, None goes on until
    nothing is left to remove.
    """
    before = {structure.name: len(structure.units) for structure in structures}
    least = {structure.name: structure.least for structure in structures}
    rounds: list[Plan] = []
    for step in itertools.count(1) if steps is None else range(1, steps + 1):
        if len(rounds) == most or before == least:
            break
        left = {structure.name: structure.share(share_left(step)) for structure in structures}
        if left != before:
            rounds.append(left)
            before = left
    return rounds


def reason_to_stop(
    records: Sequence[RoundRecord], rounds: Sequence[Plan], most: int, target: Targets | None
) -> Reason | None:
    """Why no round follows those recorded; None if one does."""
    if records and not records[-1].held:
        return "gate"
    if records and target is not None and not target.missed(records[-1].figures):
        return "target met"
    if len(records) == len(rounds):
        exhausted = target is not None and len(rounds) < most
        return "nothing left to remove" if exhausted else "rounds used up"
    return None


def kept(records: Sequence[RoundRecord]) -> int:
    """Number of the round whose model is the result: the last that held, else the last."""
    held = [number for number, record in enumerate(records, 1) if record.held]
    return held[-1] if held else len(records)
