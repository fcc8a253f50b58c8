"""`static`: int8 with ranges fixed on a calibration set.

A row's score is its own: it does not depend on the rows beside it. The last product stays float,
scores need more than 256 steps, or ties break rankings and thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import onnx

from compression.quantisation.base import Job, Quantised
from compression.quantisation.calibration import CalibrationSet, calibration_set
from compression.quantisation.check import check_integer
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import Product, prepared, products, split, with_gemm
from compression.quantisation.qdq import ranged_tensors, with_integers
from compression.quantisation.ranges import Range, measured_ranges
from compression.quantisation.sensitivity import choose
from compression.training.scoring import Report

CALIBRATION_OPTIONS = frozenset(
    {"calibration", "calibration_rows", "calibration_method", "percentile", "max_drift"}
)


class Static:
    """Calibrated after training."""

    name: ClassVar[str] = "static"
    options: ClassVar[frozenset[str]] = CALIBRATION_OPTIONS | {
        "per_channel", "reduce_range", "float_layers", "output_error",
    }  # fmt: skip

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The job's graph with all products but `float_layers` in int8."""
        calibration = calibrated_on(job, options)
        model = with_gemm(prepared(job.graph))
        tensors = ranged_tensors(model, products(model))
        ranges = measured_ranges(model, tensors, calibration, options, report)
        graph, chosen, notes = with_ranges(model, ranges, calibration, options, report)
        kernels = check_integer(graph, chosen, self.name)
        return Quantised(
            graph, "int8", job.module, {**notes, "integer_kernels": kernels, **told(calibration)}
        )


def calibrated_on(job: Job, options: QuantisationOptions) -> CalibrationSet:
    """The set that the options name, checked."""
    return calibration_set(
        job.workload, options.calibration, options.calibration_rows, job.seed, options.max_drift
    )


def told(calibration: CalibrationSet) -> dict[str, Any]:
    """What the manifest says of a calibration set."""
    return {"calibration": calibration.name, "calibration_rows": len(calibration)}


def with_ranges(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    calibration: CalibrationSet,
    options: QuantisationOptions,
    report: Report,
) -> tuple[bytes, tuple[Product, ...], dict[str, Any]]:
    """The graph, the products that are integer in it, and notes on those that are not."""
    found = products(model)
    if options.float_layers != "auto":
        chosen, floats = split(found, options.last_float)
        graph = with_integers(model, chosen, ranges, options)
        return graph, chosen, {"float_layers": [product.name for product in floats]}
    choice = choose(
        model.SerializeToString(),
        found,
        lambda some: with_integers(model, some, ranges, options),
        calibration,
        options.output_error,
        report,
    )
    notes = {
        "float_layers": [product.name for product in choice.floats],
        "output_error": choice.output_error,
        "output_error_alone": choice.alone,
    }
    return choice.graph, choice.integer, notes
