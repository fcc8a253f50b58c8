"""Activation ranges: what a uint8 has to span, measured on a calibration set.

Three ways to choose a range from the values seen, all over one histogram:
`minmax` spans them all; `percentile` cuts a fixed share off each end; `entropy` cuts where the
quantised distribution keeps most of the information (Migacz, "8-bit inference with TensorRT",
2017). onnxruntime's own calibrators are not used: its entropy method works on 128 bins by
default, which makes it minmax, and keeps the activations of all rows in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from compression.errors import TechniqueError
from compression.graphs.session import open_session
from compression.quantisation.calibration import CalibrationSet
from compression.quantisation.options import QuantisationOptions
from compression.training.scoring import Report

Range = tuple[float, float]
HALF_BINS = 2048
LEVELS = 256
_SMOOTHING = 1e-4

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Observed:
    """Values of one tensor: the extremes, and a histogram over [-reach, reach]."""

    low: float
    high: float
    counts: Counts
    """int64[2 · HALF_BINS]: the middle edge is zero."""

    @property
    def reach(self) -> float:
        """Largest magnitude."""
        return max(abs(self.low), abs(self.high))


class RangeMethod(Protocol):
    """One way to choose a range."""

    name: ClassVar[str]

    def __call__(self, observed: Observed, options: QuantisationOptions) -> Range:
        """The range that uint8 is to span; zero need not be in it."""
        ...


class MinMax:
    """Everything seen."""

    name: ClassVar[str] = "minmax"

    def __call__(self, observed: Observed, options: QuantisationOptions) -> Range:
        """The extremes."""
        return observed.low, observed.high


class Percentile:
    """Outliers cut off, the same share on both sides."""

    name: ClassVar[str] = "percentile"

    def __call__(self, observed: Observed, options: QuantisationOptions) -> Range:
        """From the 100 - p to the p percentile, to the width of a bin."""
        seen = np.cumsum(observed.counts) / observed.counts.sum()
        share = options.percentile / 100
        edges = np.linspace(-observed.reach, observed.reach, len(seen) + 1)
        low = edges[np.searchsorted(seen, 1 - share, side="right")]
        high = edges[np.searchsorted(seen, share - 1e-12, side="left") + 1]
        return max(float(low), observed.low), min(float(high), observed.high)


class Entropy:
    """Outliers cut off where that loses least information."""

    name: ClassVar[str] = "entropy"
    STEP: ClassVar[int] = 16
    """Bins between thresholds that are tried."""

    def __call__(self, observed: Observed, options: QuantisationOptions) -> Range:
        """The threshold whose quantised distribution diverges least from the one seen."""
        magnitudes = observed.counts[HALF_BINS:] + observed.counts[:HALF_BINS][::-1]
        # One-sided activations have all levels to themselves.
        levels = LEVELS if observed.low >= 0 or observed.high <= 0 else LEVELS // 2
        tried = range(levels, HALF_BINS + 1, self.STEP)
        best = min(tried, key=lambda bins: divergence(magnitudes, bins, levels))
        threshold = observed.reach * best / HALF_BINS
        return max(observed.low, -threshold), min(observed.high, threshold)


def divergence(counts: Counts, bins: int, levels: int) -> float:
    """Kullback–Leibler divergence of `counts`, cut after `bins`, from itself in `levels` levels.

    What is cut off counts as if it were in the last bin: the price of clipping. A level's values
    are spread over those of its bins that were seen.
    """
    kept = counts[:bins].astype(np.float64)
    seen = kept > 0
    starts = np.arange(levels) * bins // levels
    sizes = np.diff(np.append(starts, bins))
    per_seen = np.add.reduceat(kept, starts) / np.maximum(np.add.reduceat(seen, starts), 1)
    quantised = np.where(seen, np.repeat(per_seen, sizes), 0.0)
    kept[-1] += counts[bins:].sum()
    p, q = (values / max(values.sum(), 1.0) + _SMOOTHING / bins for values in (kept, quantised))
    return float((p * np.log(p / q)).sum())


RANGE_METHODS: Mapping[str, RangeMethod] = MappingProxyType(
    {method.name: method for method in (MinMax(), Percentile(), Entropy())}
)


def measured_ranges(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    calibration: CalibrationSet,
    options: QuantisationOptions,
    report: Report,
) -> dict[str, Range]:
    """Range of each float32 tensor of a graph, by name.

    The rows run twice, for the extremes and for the histogram, so that no activation is kept.

    Raises:
        TechniqueError: an activation is not finite.
    """
    names = list(dict.fromkeys(tensors))
    session = open_session(_with_outputs(model, names))
    choose = RANGE_METHODS[options.calibration_method]
    passes = 1 if options.calibration_method == "minmax" else 2
    extremes = dict.fromkeys(names, (math.inf, -math.inf))
    for name, values in _activations(session, names, calibration, (0, passes), report):
        low, high = extremes[name]
        extremes[name] = min(low, float(values.min())), max(high, float(values.max()))
    _check_finite(extremes)
    counts = {name: np.zeros(2 * HALF_BINS, np.int64) for name in names}
    if passes == 2:
        for name, values in _activations(session, names, calibration, (1, passes), report):
            reach = max(map(abs, extremes[name]))
            counts[name] += np.histogram(values, 2 * HALF_BINS, (-reach, reach))[0]
    return {
        name: choose(Observed(*seen, counts[name]), options)
        if any(seen)
        else seen  # always zero: nothing to cut
        for name, seen in extremes.items()
    }


def _activations(
    session: Any,
    names: Sequence[str],
    calibration: CalibrationSet,
    turn: tuple[int, int],
    report: Report,
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Values of each tensor on each batch; `turn` is (turns done, turns in all)."""
    done, turns = turn
    rows = done * len(calibration)
    inner = [name for name in names if name in {value.name for value in session.get_outputs()}]
    for batch in calibration.batches():
        found: dict[str, Any] = dict(batch)
        if inner:  # no name asked for is every output to onnxruntime
            found.update(zip(inner, session.run(inner, batch), strict=True))
        yield from ((name, found[name]) for name in names)
        rows += len(next(iter(batch.values())))
        report(rows, turns * len(calibration))


def _check_finite(extremes: Mapping[str, Range]) -> None:
    broken = [name for name, bounds in extremes.items() if not all(map(math.isfinite, bounds))]
    if broken:
        raise TechniqueError(
            f"activations are not finite on the calibration rows: {', '.join(broken[:5])}; the "
            "float model is broken there, and no range can be measured"
        )


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> bytes:
    """The graph with inner tensors among its outputs."""
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    present = {value.name for value in extended.graph.output}
    inputs = {value.name for value in extended.graph.input}
    for name in tensors:
        if name not in present and name not in inputs:
            value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            extended.graph.output.append(value)
    content: bytes = extended.SerializeToString()
    return content
