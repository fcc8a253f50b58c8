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
from compression.quantisation.products import Product, prepared, products, split, with_matmul
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
    trains: ClassVar[bool] = False

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The job's graph with all products but `float_layers` in int8."""
        calibration = calibrated_on(job, options)
        model, ranges = measured(job, options, calibration, report)
        chosen, notes = chosen_products(model, ranges, calibration, options, report)
        graph = with_integers(model, chosen, ranges, options)
        kernels = check_integer(graph, chosen, self.name)
        return Quantised(
            graph, "int8", job.module, {**notes, "integer_kernels": kernels, **told(calibration)}
        )


def calibrated_on(job: Job, options: QuantisationOptions) -> CalibrationSet:
    """The set that the options name, checked."""
    source = options.calibration_file or options.calibration
    return calibration_set(
        job.workload, source, options.calibration_rows, job.seed, options.max_drift
    )


def told(calibration: CalibrationSet) -> dict[str, Any]:
    """What the manifest says of a calibration set."""
    notes: dict[str, Any] = {
        "calibration": calibration.name,
        "calibration_rows": len(calibration),
    }
    if calibration.sha256 is not None:
        notes["calibration_sha256"] = calibration.sha256
    return notes


def measured(
    job: Job, options: QuantisationOptions, calibration: CalibrationSet, report: Report
) -> tuple[onnx.ModelProto, dict[str, Range]]:
    """The job's graph as quantisers want it, and the range of each tensor they need one for."""
    model = with_matmul(prepared(job.graph))
    tensors = ranged_tensors(model, products(model))
    return model, measured_ranges(model, tensors, calibration, options, report)


def chosen_products(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    calibration: CalibrationSet,
    options: QuantisationOptions,
    report: Report,
) -> tuple[tuple[Product, ...], dict[str, Any]]:
    """The products that become integer, and notes on those that do not."""
    found = products(model)
    if options.float_layers != "auto":
        chosen, floats = split(found, options.last_float)
        return chosen, {"float_layers": [product.name for product in floats]}
    choice = choose(
        model.SerializeToString(),
        found,
        lambda some: with_integers(model, some, ranges, options),
        calibration,
        options.output_error,
        report,
    )
    return choice.integer, {
        "float_layers": [product.name for product in choice.floats],
        "output_error": choice.output_error,
        "output_error_alone": choice.alone,
    }
