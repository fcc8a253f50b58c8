from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from compression.chains import ChainRunner
from compression.console import Stages
from compression.quality.gate import GateConfig
from compression.recipe import Recipe
from compression.techniques import TECHNIQUES
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.training.scoring import Report
from compression.validation import validate


class _Options(Options):
    listens: bool = False

    @property
    def listens_to_gate(self) -> bool:
        return self.listens


class _Counted:
    """Changes nothing; remembers where it might have left something unfinished."""

    name: ClassVar[str] = "counted"
    family: ClassVar[Family | None] = None
    options: ClassVar[type[Options]] = _Options
    ends_in_graph: ClassVar[bool] = False

    def __init__(self) -> None:
        self.scratches: list[Any] = []

    def apply(
        self, candidate: Candidate, options: Any, context: Context, report: Report
    ) -> Candidate:
        self.scratches.append(context.scratch)
        return candidate.noted({}, 0.0)


@pytest.mark.parametrize(("listens", "runs"), [(False, 1), (True, 2)])
def test_another_gate_redoes_only_steps_that_listen_to_it(
    context: Context,
    tiny_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    listens: bool,
    runs: int,
) -> None:
    counted = _Counted()
    monkeypatch.setitem(TECHNIQUES, "counted", counted)
    recipe = validate(
        Recipe,
        {
            "version": 1,
            "model": "fraud",
            "workload": tiny_settings,
            "variants": {
                "original": {},
                "same": {"from": "original", "steps": [{"counted": {"listens": listens}}]},
            },
        },
        "test",
    )
    for gate in (GateConfig(), GateConfig(), GateConfig(auc_ratio=0.9)):
        with Stages() as stages:
            ChainRunner(recipe, "test", replace(context, gate=gate), stages, 1).run()
    assert len(counted.scratches) == runs
    assert len(set(counted.scratches)) == runs
