"""`auto`: static int8 if it holds the recipe's gate on validation rows, else trained int8.

Test rows are not looked at: the verdict that counts comes later, and may differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from compression.quantisation.base import Job, Method, Quantised
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.qat import Qat
from compression.quantisation.static import Static
from compression.store.manifest import Gate
from compression.training.scoring import Report


class Auto:
    """The cheaper method that holds the gate."""

    name: ClassVar[str] = "auto"
    options: ClassVar[frozenset[str]] = Static.options | Qat.options
    trains: ClassVar[bool] = True
    order: ClassVar[tuple[Method, ...]] = (Static(), Qat())

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The first that passes, else the one that misses by least; notes say what was tried."""
        tried: list[tuple[Method, Quantised, Gate]] = []
        for method in self.order:
            quantised = method(job, options, report)
            tried.append((method, quantised, job.judge(quantised.graph)))
            if tried[-1][-1].verdict == "passed":
                break
        chosen, quantised, _ = min(tried, key=lambda one: _shortfall(one[-1]))
        notes = {
            "chosen": chosen.name,
            "tried": [_verdict(method.name, gate) for method, _, gate in tried],
        }
        return replace(quantised, notes={**quantised.notes, **notes})


def _shortfall(gate: Gate) -> float:
    """By how much the conditions are missed, in all."""
    return sum(check.bound - check.value for check in gate.checks if not check.passed)


def _verdict(name: str, gate: Gate) -> dict[str, Any]:
    """What the gate said on validation rows, and which conditions were missed."""
    missed = [
        f"{check.name} {check.value:.4f} < {check.bound:.4f}"
        for check in gate.checks
        if not check.passed
    ]
    return {"method": name, "rows": "validation", "gate": gate.verdict, "missed": missed}
