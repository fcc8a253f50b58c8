from __future__ import annotations

import pytest

from compression.store import Estimate
from compression.verdicts import earns_its_cost, teacher_helped


def _between(low: float | None, high: float | None) -> Estimate:
    return Estimate(value=0.97, low=low, high=high)


@pytest.mark.parametrize(
    ("estimate", "beginning"),
    [
        (_between(0.9, 0.99), "The original earns its cost on this data: "),
        (_between(1.01, 1.1), "The original does not earn its cost on this data: "),
        (_between(0.9, 1.02), "Whether the original earns its cost cannot be told from this "),
        (_between(0.9, 1.0), "Whether the original"),
        (_between(1.0, 1.1), "Whether the original"),
        (_between(None, None), "Whether the original"),
    ],
)
def test_whether_the_original_earns_its_cost(estimate: Estimate, beginning: str) -> None:
    said = earns_its_cost("gradient boosting", estimate)
    assert said.startswith(beginning)
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("estimate", "beginning"),
    [
        (_between(1.01, 1.1), "The teacher helped: "),
        (_between(0.9, 0.99), "The teacher did harm: "),
        (_between(0.99, 1.1), "The teacher made no difference that this sample can show: "),
        (_between(None, None), "The teacher made no difference"),
    ],
)
def test_whether_the_teacher_helped(estimate: Estimate, beginning: str) -> None:
    said = teacher_helped("distilled", "alone", estimate, 59.6)
    assert said.startswith(beginning)
    assert "distilled reaches 0.970" in said
    assert "of alone" in said
    assert said.endswith("took another 60 s.")


def test_the_interval_is_told_where_there_is_one() -> None:
    assert "0.970 (95 % interval 0.900 to 0.990) of the" in earns_its_cost(
        "boosting", _between(0.9, 0.99)
    )
    assert "reaches 0.970 of the" in earns_its_cost("boosting", _between(None, None))
