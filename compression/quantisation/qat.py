"""`qat`: int8 that training has prepared the weights for.

A copy of the module computes as its int8 twin will while it is trained for a few epochs on labels
and the original's outputs. Its trained weights and the ranges it learned then make an int8 graph as
in `static`. Ranges that training does not learn, of what a convolution gives, come from the
calibration set.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from compression.graphs.export import EXAMPLE_ROWS, tidied, to_onnx
from compression.models.scorer import Scorer
from compression.quantisation.base import Job, Quantised
from compression.quantisation.check import check_integer
from compression.quantisation.fake import FakeQuantised, float_state, layers_in_order
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import prepared, products, with_gemm
from compression.quantisation.qdq import ranged_tensors
from compression.quantisation.ranges import Range, measured_ranges
from compression.quantisation.static import Static, calibrated_on, told, with_ranges
from compression.training.scoring import Report, nothing

HIGHEST = 255


class Qat:
    """Quantisation-aware training."""

    name: ClassVar[str] = "qat"
    options: ClassVar[frozenset[str]] = Static.options | {"training"}

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """An int8 graph of a trained copy of the job's module, which comes with it."""
        calibration = calibrated_on(job, options)
        trained, fake = self.trainable(job, options)
        fake.measure(trained.body, calibration.batches())
        seconds = job.train(trained, report)
        job.recalibrate(trained.eval(), nothing)
        fake.float_weights()
        graph, learned = self._exported(trained, fake, job)
        model = with_gemm(prepared(graph))
        tensors = [t for t in ranged_tensors(model, products(model)) if t not in learned]
        ranges = learned | measured_ranges(model, tensors, calibration, options, nothing)
        graph, chosen, notes = with_ranges(model, ranges, calibration, options, report)
        notes |= {
            "integer_kernels": check_integer(graph, chosen, self.name),
            "training_seconds": seconds,
            **told(calibration),
        }
        return Quantised(graph, "int8", _plain(trained, job.module), notes)

    def trainable(self, job: Job, options: QuantisationOptions) -> tuple[Scorer, FakeQuantised]:
        """A copy of the module with fake quantisation in all layers but the last `float_layers`."""
        module = copy.deepcopy(job.module)
        layers = layers_in_order(module.body, [torch.from_numpy(a) for a in _example(job).values()])
        kept = layers[: max(0, len(layers) - options.last_float)]
        fake = FakeQuantised(
            kept, per_channel=options.per_channel, reduce_range=options.reduce_range
        )
        return module, fake

    def _exported(
        self, trained: Scorer, fake: FakeQuantised, job: Job
    ) -> tuple[bytes, dict[str, Range]]:
        """The float graph of the trained weights, and the learned range of its tensors."""
        with fake.marked():
            marked = to_onnx(trained, _example(job), job.workload.outputs[0].name)
        return without_marks(onnx.load_from_string(marked))


def _example(job: Job) -> dict[str, np.ndarray]:
    return dict(job.workload.gather(job.workload.train[:EXAMPLE_ROWS]))


def _plain(trained: Scorer, module: Scorer) -> Scorer:
    """The trained weights in a module as it was before."""
    plain = copy.deepcopy(module)
    plain.load_state_dict(float_state(trained.state_dict(), plain.state_dict()))
    return plain.eval()


def without_marks(model: onnx.ModelProto) -> tuple[bytes, dict[str, Range]]:
    """The graph without its QuantizeLinear/DequantizeLinear pairs, and the ranges these had.

    A tensor that several layers read has one range for each of them, nearly the same: the widest
    counts.
    """
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    marks = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    ranges: dict[str, Range] = {}
    sources: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = sources.get(name, name)
        if node.op_type == "DequantizeLinear" and node.input[0] in marks:
            mark = marks[node.input[0]]
            tensor = mark.input[0]
            scale, zero = (float(constants[name]) for name in mark.input[1:3])
            low, high = -zero * scale, (HIGHEST - zero) * scale
            before = ranges.get(tensor, (0.0, 0.0))
            ranges[tensor] = min(before[0], low), max(before[1], high)
            sources[node.output[0]] = tensor
        elif node.op_type != "QuantizeLinear":
            kept.append(node)
    used = {name for node in kept for name in node.input}
    stored = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(stored)
    return tidied(model), ranges
