"""`qat`: int8 that training has prepared the weights for.

A copy of the module computes as its int8 twin will while it is trained for a few epochs on labels
and the original's outputs. Its trained weights and the ranges it learned then make an int8 graph as
in `static`. Ranges that training does not learn, of what a convolution gives, come from the
calibration set.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
import torch
from torch import nn

from compression.errors import TechniqueError
from compression.graphs.export import EXAMPLE_ROWS, to_onnx
from compression.models.scorer import Scorer
from compression.quantisation.base import Job, Quantised
from compression.quantisation.calibration import CalibrationSet
from compression.quantisation.check import check_integer
from compression.quantisation.fake import FakeQuantised, freeze_statistics, layers_in_order
from compression.quantisation.marks import without_marks
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import (
    Product,
    prepared,
    products,
    with_matmul,
)
from compression.quantisation.qdq import ranged_tensors, with_integers
from compression.quantisation.ranges import measured_ranges
from compression.quantisation.static import (
    Static,
    calibrated_on,
    chosen_products,
    measured,
    told,
)
from compression.training.scoring import Report, nothing


class Qat:
    """Quantisation-aware training."""

    name: ClassVar[str] = "qat"
    options: ClassVar[frozenset[str]] = Static.options
    trains: ClassVar[bool] = True

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """An int8 graph of a trained copy of the job's module, which comes with it."""
        calibration = calibrated_on(job, options)
        trained, fake, notes = trainable(job, options, calibration, report)
        fake.measure(trained.body, calibration.batches())
        notes["training_seconds"] = job.train(trained, report)
        job.recalibrate(trained.eval(), nothing)
        fake.float_weights()
        with fake.marked():
            marked = to_onnx(trained, _example(job), job.workload.outputs[0].name)
        marks = without_marks(with_matmul(onnx.load_from_string(marked)))
        model = prepared(marks.graph)
        chosen = tuple(product for product in products(model) if product.name in marks.readers)
        if len(chosen) < len(fake):
            raise TechniqueError(
                f"quantize (qat): {len(fake)} layers were trained for int8, but only {len(chosen)} "
                "products of the exported graph read what these layers round: use method static"
            )
        unknown = [t for t in ranged_tensors(model, chosen) if t not in marks.ranges]
        ranges = marks.ranges | measured_ranges(model, unknown, calibration, options, nothing)
        graph = with_integers(model, chosen, ranges, options)
        notes["integer_kernels"] = check_integer(graph, chosen, self.name)
        plain = _plain(trained, job.module)
        return Quantised(graph, "int8", plain, {**notes, **told(calibration)})


def trainable(
    job: Job, options: QuantisationOptions, calibration: CalibrationSet, report: Report
) -> tuple[Scorer, FakeQuantised, dict[str, Any]]:
    """A copy of the job's module with fake quantisation in all layers but those left in float.

    Which these are is chosen before the training, on the products of the float graph: a layer that
    learned to live with cut-off inputs must not get them whole in the end.
    """
    module = copy.deepcopy(job.module)
    freeze_statistics(module.body)
    layers = layers_in_order(module.body, [torch.from_numpy(a) for a in _example(job).values()])
    notes: dict[str, Any] = {}
    kept = layers[: max(0, len(layers) - options.last_float)]
    if options.float_layers == "auto":
        model, ranges = measured(job, options, calibration, report)
        chosen, notes = chosen_products(model, ranges, calibration, options, report)
        kept = _layers_of(chosen, products(model), layers)
    names = {part: name for name, part in module.body.named_modules()}
    notes["float_layers"] = [names[layer] for layer in layers if layer not in kept]
    return (
        module,
        FakeQuantised(kept, per_channel=options.per_channel, reach=options.reach),
        notes,
    )


def _layers_of(
    chosen: Sequence[Product], found: Sequence[Product], layers: Sequence[nn.Module]
) -> list[nn.Module]:
    """The layers of some products: both are in the order in which they run."""
    if len(found) != len(layers):
        raise TechniqueError(
            f"quantize (qat): float_layers: auto must know which layer each product belongs to; "
            f"the graph has {len(found)} products, the model {len(layers)} Linear and Conv layers: "
            "say how many of the last layers stay in float"
        )
    names = {product.name for product in chosen}
    return [layer for product, layer in zip(found, layers, strict=True) if product.name in names]


def _example(job: Job) -> dict[str, np.ndarray]:
    return dict(job.workload.gather(job.workload.train[:EXAMPLE_ROWS]))


def _plain(trained: Scorer, module: Scorer) -> Scorer:
    """The trained weights in a module as it was before."""
    plain = copy.deepcopy(module)
    state = trained.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain.eval()
