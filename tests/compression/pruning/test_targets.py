from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from compression.pruning.targets import Figures, Targets, measure
from tests.compression.graphs.made import perceptron


def _figures(**figures: float) -> Figures:
    known = {"parameters": 100, "bytes": 400, "flops": 200, "speedup": 2.0}
    given = {**known, **figures}
    return Figures(**given, speedup_low=given["speedup"], speedup_high=given["speedup"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "missed"),
    [
        ({"speedup": 2.0}, ()),
        ({"speedup": 2.1}, ("speedup",)),
        ({"bytes": 400}, ()),
        ({"bytes": 399}, ("bytes",)),
        ({"parameters": 100, "flops": 200}, ()),
        ({"parameters": 100, "flops": 199}, ("flops",)),
        ({"speedup": 3, "bytes": 1, "parameters": 1, "flops": 1},
         ("speedup", "bytes", "parameters", "flops")),
    ],
)  # fmt: skip
def test_all_bounds_must_hold(targets: dict[str, float], missed: tuple[str, ...]) -> None:
    assert Targets.model_validate(targets).missed(_figures()) == missed


def test_a_target_says_something() -> None:
    with pytest.raises(ValidationError, match="at least one of speedup, bytes, parameters, flops"):
        Targets()


@pytest.mark.parametrize("targets", [{"speedup": 1.0}, {"bytes": 0}, {"latency": 1}])
def test_what_is_no_target_is_refused(targets: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(targets))):
        Targets.model_validate(targets)


def test_figures_are_those_of_the_graph() -> None:
    small, large = perceptron(8, 16), perceptron(8, 200_000)
    row = {"x": np.ones((1, 8), np.float32)}
    figures = measure(small, large, 161, row, seconds=0.05)
    assert (figures.parameters, figures.bytes) == (161, len(small))
    assert figures.flops == 2 * (8 * 16 + 16)
    assert 1 < figures.speedup_low <= figures.speedup <= figures.speedup_high
    assert set(figures.to_dict()) == {
        "parameters", "bytes", "flops", "speedup", "speedup_low", "speedup_high",
    }  # fmt: skip
