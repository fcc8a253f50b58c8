"""Which products stand integers, measured: `float_layers: auto`.

Each product alone is quantised and the change of the model's outputs on calibration rows taken.
Those that change them most stay in float, as few as the bound on the output's error allows. The
fraud transformer's first layers showed why this is worth the time: their inputs have long tails,
and with these two small products in float the error of int8 fell to a tenth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.errors import TechniqueError
from compression.graphs.session import open_session
from compression.quantisation.calibration import CalibrationSet
from compression.quantisation.products import Product
from compression.training.scoring import Report

ROWS = 128
"""Calibration rows that errors are measured on."""

SAME = 1e-6
"""Outputs whose standard deviation is a smaller share of them than this are all the same."""

Integer = Callable[[Sequence[Product]], bytes]
"""A graph with these products quantised."""
Outputs = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """What stays in float, and what that leaves."""

    integer: tuple[Product, ...]
    floats: tuple[Product, ...]
    output_error: float
    alone: dict[str, float]
    """Output error by product, when it alone is quantised; the last, always float, is not in it."""


def choose(
    float_graph: bytes,
    products: Sequence[Product],
    integer: Integer,
    calibration: CalibrationSet,
    bound: float,
    report: Report,
) -> Choice:
    """The last product and the worst others left in float, until the output error is ≤ `bound`.

    Raises:
        TechniqueError: not even the least harmful product can be integer within the bound.
    """
    error = _OutputError(float_graph, calibration)
    candidates = list(products[:-1])
    alone: dict[str, float] = {}
    for done, product in enumerate(candidates):
        alone[product.name] = error(integer([product]))
        report(done + 1, len(candidates) + 1)
    worst_first = sorted(candidates, key=lambda product: -alone[product.name])
    for left in range(_likely(worst_first, alone, bound), len(candidates)):
        kept = set(worst_first[left:])
        chosen = tuple(product for product in products if product in kept)
        found = error(integer(chosen))
        if found <= bound:
            report(1, 1)
            floats = tuple(product for product in products if product not in kept)
            return Choice(chosen, floats, found, alone)
    least = min(alone.values(), default=float("inf"))
    raise TechniqueError(
        f"quantize: float_layers: auto finds no product that can be integer with an output error "
        f"within {bound} (output_error); the least harmful alone has {least:.4f}: raise "
        "output_error, calibrate on other rows, or use method qat"
    )


def _likely(worst_first: Sequence[Product], alone: dict[str, float], bound: float) -> int:
    """How many to leave in float, if errors add up as independent ones do: where to begin."""
    squares = np.array([alone[product.name] ** 2 for product in worst_first])
    remaining = np.sqrt(np.cumsum(squares[::-1])[::-1])
    return int(np.sum(remaining > bound))


class _OutputError:
    """Root mean square of the outputs' change, as a share of their standard deviation."""

    def __init__(self, float_graph: bytes, calibration: CalibrationSet) -> None:
        self._inputs = dict(calibration.head(ROWS))
        self._expected = self._outputs(float_graph)
        self._deviation = float(self._expected.std())
        if self._deviation <= SAME * float(np.abs(self._expected).max()):
            raise TechniqueError(
                f"quantize: float_layers: auto needs outputs that differ, and on all "
                f"{len(self._expected)} calibration rows the model gives the same: say how many "
                "layers stay in float, or give other rows"
            )

    def _outputs(self, graph: bytes) -> Outputs:
        outputs: Outputs = open_session(graph).run(None, self._inputs)[0]
        return outputs

    def __call__(self, graph: bytes) -> float:
        change = self._outputs(graph) - self._expected
        return float(np.sqrt(np.mean(change**2))) / self._deviation
