from __future__ import annotations

import pytest

from compression.edge.budget import Budget
from compression.edge.document import Memory
from compression.errors import BudgetError


def _memory(load: int, run: int) -> Memory:
    return Memory(
        peak_bytes=max(load, run),
        load_bytes=load,
        run_bytes=run,
        weights_bytes=1,
        activations_bytes=1,
        fullest_node="n",
        method="made up",
    )


@pytest.mark.parametrize(
    "budget",
    [Budget(), Budget(1000), Budget(None, 5000), Budget(1000, 5000), Budget(10**9, 10**9)],
)
def test_what_fits_passes(budget: Budget) -> None:
    budget.require(1000, _memory(5000, 4000))


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(999), "the model file has 1,000 bytes, --max-bytes allows 999"),
        (Budget(None, 4999), "loading it needs 5,000 bytes, --max-memory-bytes allows 4,999"),
        (Budget(0), "--max-bytes allows 0"),
    ],
)
def test_an_excess_names_both_figures(budget: Budget, said: str) -> None:
    with pytest.raises(BudgetError, match="over budget, nothing was written") as raised:
        budget.require(1000, _memory(5000, 4000))
    assert said in str(raised.value)
    assert "Export a smaller variant" in str(raised.value)


def test_both_excesses_are_said_at_once() -> None:
    with pytest.raises(BudgetError) as raised:
        Budget(10, 20).require(1000, _memory(4000, 5000))
    assert "--max-bytes allows 10; running it needs 5,000 bytes" in str(raised.value)
