from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compression.errors import TechniqueError
from compression.quantisation import Job, QuantisationOptions
from compression.quantisation.calibration import CalibrationSet
from compression.quantisation.products import prepared, products
from compression.quantisation.ranges import (
    HALF_BINS,
    RANGE_METHODS,
    Observed,
    Range,
    divergence,
    measured_ranges,
)


def _observed(values: np.ndarray[Any, Any]) -> Observed:
    reach = np.abs(values).max()
    counts = np.histogram(values, 2 * HALF_BINS, (-reach, reach))[0]
    return Observed(float(values.min()), float(values.max()), counts)


def _range(method: str, values: np.ndarray[Any, Any], **options: Any) -> Range:
    return RANGE_METHODS[method](_observed(values), QuantisationOptions(**options))


def _measured(job: Job, method: str, rows: int = 300) -> tuple[dict[str, Range], CalibrationSet]:
    model = prepared(job.graph)
    given = CalibrationSet("rows", job.workload.gather(job.workload.train[:rows]))
    options = QuantisationOptions.model_validate({"calibration_method": method})
    tensors = [product.input for product in products(model)]
    return measured_ranges(model, tensors, given, options, lambda done, total: None), given


def test_minmax_is_what_the_model_s_layers_read(jobs: dict[str, Job]) -> None:
    job = jobs["flat"]
    ranges, given = _measured(job, "minmax")
    read: list[Range] = []
    layers = [part for part in job.module.modules() if isinstance(part, nn.Linear)]
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs: read.append((float(inputs[0].min()), float(inputs[0].max())))
        )
        for layer in layers
    ]
    with torch.no_grad():
        job.module(torch.from_numpy(given.inputs["x"]))
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(list(ranges.values()), read, rtol=1e-5, atol=1e-6)


def test_percentile_cuts_the_share_off_each_end() -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    for percentile in (90.0, 99.0, 99.9):
        low, high = _range("percentile", values, percentile=percentile)
        expected = np.percentile(values, [100 - percentile, percentile])
        np.testing.assert_allclose([low, high], expected, atol=2 * np.abs(values).max() / HALF_BINS)


def test_percentile_of_everything_is_minmax() -> None:
    values = np.random.default_rng(0).exponential(size=5000)
    assert _range("percentile", values, percentile=100) == _range("minmax", values)


def test_entropy_cuts_a_long_tail_and_keeps_an_even_spread() -> None:
    generator = np.random.default_rng(0)
    tail = np.append(generator.normal(size=100_000), [400.0, -300.0])
    low, high = _range("entropy", tail)
    assert -40 < low < -3
    assert 3 < high < 40
    even = generator.uniform(0, 1, 100_000)
    low, high = _range("entropy", even)
    assert low == even.min()
    assert high > 0.95


def test_nothing_cut_off_and_a_level_for_each_bin_loses_nothing() -> None:
    counts = np.random.default_rng(0).integers(0, 50, 256)
    assert divergence(counts, 256, 256) == pytest.approx(0, abs=1e-9)
    assert divergence(counts, 256, 16) > 1e-4
    assert divergence(counts, 128, 128) > 0.1


@pytest.mark.parametrize("method", sorted(RANGE_METHODS))
def test_all_methods_give_each_tensor_a_range_within_what_was_seen(
    jobs: dict[str, Job], method: str
) -> None:
    widest, _ = _measured(jobs["tokens"], "minmax")
    ranges, _ = _measured(jobs["tokens"], method)
    assert ranges.keys() == widest.keys()
    for name, (low, high) in ranges.items():
        assert widest[name][0] <= low < high <= widest[name][1], name


def test_outliers_narrow_percentile_and_entropy(jobs: dict[str, Job]) -> None:
    """The input has a feature with a long tail."""
    highs = {method: _measured(jobs["flat"], method)[0]["x"][1] for method in RANGE_METHODS}
    assert highs["entropy"] < highs["minmax"]
    assert highs["percentile"] <= highs["minmax"]


def test_an_activation_that_is_always_zero_has_an_empty_range(jobs: dict[str, Job]) -> None:
    job = jobs["flat"]
    model = prepared(job.graph)
    given = CalibrationSet("zeros", {"x": np.zeros((4, 12), np.float32)})
    options = QuantisationOptions(calibration_method="entropy")
    ranges = measured_ranges(model, ["x"], given, options, lambda done, total: None)
    assert ranges == {"x": (0.0, 0.0)}


def test_activations_that_are_not_finite_are_an_error(jobs: dict[str, Job]) -> None:
    model = prepared(jobs["flat"].graph)
    weights = {product.weight for product in products(model)}
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            values = np.full(tuple(tensor.dims), np.inf, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    inner = [product.input for product in products(model)]
    given = CalibrationSet("rows", {"x": np.ones((4, 12), np.float32)})
    with pytest.raises(TechniqueError, match=r"not finite on the calibration rows: \w+"):
        measured_ranges(model, inner, given, QuantisationOptions(), lambda done, total: None)


def test_progress_ends_at_all_rows(jobs: dict[str, Job]) -> None:
    job, calls = jobs["flat"], list[tuple[int, int]]()
    given = CalibrationSet("rows", job.workload.gather(job.workload.train[:70]))
    for method in ("minmax", "entropy"):
        options = QuantisationOptions.model_validate({"calibration_method": method})
        model = prepared(job.graph)
        measured_ranges(model, ["x"], given, options, lambda *call: calls.append(call))
    assert calls[2] == (70, 70)
    assert calls[-1] == (140, 140)
