"""What a technique is: options, what it needs, and a change to a candidate."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.training.scoring import Report

Family = Literal[
    "original", "pruned", "quantized", "distilled", "factorized", "imported", "baseline"
]  # fmt: skip


class Options(BaseModel):
    """Base of technique options: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def listens_to_gate(self) -> bool:
        """Whether the technique's result depends on the recipe's gate, too."""
        return False

    def identity(self) -> dict[str, Any]:
        """What a step's result depends on; options that name files give their content's hash."""
        return self.model_dump()


class Technique(Protocol):
    """One way to make a model smaller or faster. Stateless; siblings are registered by name."""

    name: ClassVar[str]
    family: ClassVar[Family | None]
    """What a variant is called whose chain ends with it; None keeps the parent's."""
    options: ClassVar[type[Options]]
    ends_in_graph: ClassVar[bool]
    """True if no technique that trains can follow."""

    def apply(
        self, candidate: Candidate, options: Any, context: Context, report: Report
    ) -> Candidate:
        """A new candidate; the one given is not changed. `report(done, all)` moves the bar."""
        ...
