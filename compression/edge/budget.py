"""How large an exported model may be, and how much memory it may need."""

from __future__ import annotations

from dataclasses import dataclass

from compression.edge.document import Memory
from compression.errors import BudgetError


@dataclass(frozen=True)
class Budget:
    """Upper bounds in bytes; None allows everything."""

    model_bytes: int | None = None
    """Size of the model file."""
    memory_bytes: int | None = None
    """Peak of the model's own memory, see `compression.edge.memory`."""

    def require(self, model_bytes: int, memory: Memory) -> None:
        """Check a model against both bounds.

        Raises:
            BudgetError: at least one is exceeded; names what is needed and what is allowed.
        """
        broken = [
            _exceeded("the model file has", model_bytes, "--max-bytes", self.model_bytes),
            _exceeded(
                f"{'loading' if memory.load_bytes >= memory.run_bytes else 'running'} it needs",
                memory.peak_bytes,
                "--max-memory-bytes",
                self.memory_bytes,
            ),
        ]
        if said := "; ".join(problem for problem in broken if problem):
            raise BudgetError(
                f"over budget, nothing was written: {said}. Export a smaller variant (distilled, "
                "pruned, int8), or allow more"
            )


def _exceeded(what: str, needed: int, option: str, allowed: int | None) -> str:
    if allowed is None or needed <= allowed:
        return ""
    return f"{what} {needed:,} bytes, {option} allows {allowed:,}"
