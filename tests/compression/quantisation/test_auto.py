from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from compression.quantisation import Job, Method, QuantisationOptions, Quantised
from compression.quantisation.auto import Auto
from compression.quantisation.qat import Qat
from compression.quantisation.static import Static
from compression.store.manifest import Gate
from compression.training.scoring import Report
from tests.compression.quantisation.small import gate, quantised


class Makes:
    """A method that only says its name."""

    name: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    trains: ClassVar[bool] = False

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """A graph of the method's name."""
        return Quantised(self.name.encode(), "int8", job.module, {"made_by": self.name})


class MakesStatic(Makes):
    """Called static."""

    name: ClassVar[str] = "static"


class MakesQat(Makes):
    """Called qat."""

    name: ClassVar[str] = "qat"


class Either(Auto):
    """Auto between two such methods."""

    order: ClassVar[tuple[Method, ...]] = (MakesStatic(), MakesQat())


def _chosen(job: Job, **gates: Gate) -> tuple[Quantised, list[str]]:
    judged: list[str] = []

    def judge(graph: bytes) -> Gate:
        judged.append(graph.decode())
        return gates[graph.decode()]

    return quantised(Either(), replace(job, judge=judge)), judged


def test_static_first_and_no_more_if_it_holds_the_gate(jobs: dict[str, Job]) -> None:
    made, judged = _chosen(jobs["flat"], static=gate(True))
    assert judged == ["static"]
    assert made.graph == b"static"
    assert made.notes == {
        "made_by": "static",
        "chosen": "static",
        "tried": [{"method": "static", "rows": "validation", "gate": "passed", "missed": []}],
    }


def test_training_if_static_misses_and_the_notes_say_by_what(jobs: dict[str, Job]) -> None:
    made, judged = _chosen(jobs["flat"], static=gate(False, 0.97), qat=gate(True))
    assert judged == ["static", "qat"]
    assert made.notes["chosen"] == made.notes["made_by"] == "qat"
    tried = made.notes["tried"]
    assert [(one["method"], one["gate"]) for one in tried] == [
        ("static", "failed"),
        ("qat", "passed"),
    ]
    assert tried[0]["missed"] == ["average_precision_ratio 0.9700 < 0.9900"]


@pytest.mark.parametrize(
    ("static", "qat", "chosen"), [(0.9, 0.98, "qat"), (0.98, 0.9, "static"), (0.9, 0.9, "static")]
)
def test_if_none_holds_the_one_that_misses_by_least(
    jobs: dict[str, Job], static: float, qat: float, chosen: str
) -> None:
    made, _ = _chosen(jobs["flat"], static=gate(False, static), qat=gate(False, qat))
    assert made.notes["chosen"] == made.notes["made_by"] == chosen
    assert {one["gate"] for one in made.notes["tried"]} == {"failed"}


def test_it_is_static_then_trained_int8_and_never_reads_test_rows(jobs: dict[str, Job]) -> None:
    """The workload has no test window, and training is not called where static is enough."""
    assert [type(method) for method in Auto.order] == [Static, Qat]
    job = replace(jobs["flat"], judge=lambda graph: gate(True))
    made = quantised(Auto(), job)
    assert made.notes["chosen"] == "static"
    assert made.notes["integer_kernels"] == 2
