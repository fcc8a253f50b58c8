"""`quantize`: fewer bits, by one of the methods of `compression.quantisation`.

`static` and `qat` are int8 whose ranges are fixed, so that a row's score is its own; `dynamic`
int8 needs no calibration, but measures ranges over the whole batch; `auto` trains (`qat`) only
where `static` misses the gate; `weight_only` is int8 or int4 in blocks; `fp16` is for CUDA,
`fp16_weights` for half the bytes anywhere. The graph is checked to be what the method says.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from compression.graphs.session import scores_of
from compression.quantisation import METHODS, Job, QuantisationOptions
from compression.quantisation.calibration import file_sha256
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.retraining import RetrainOptions, retrain, retraining_rows
from compression.training.scoring import Report


class QuantizeOptions(QuantisationOptions, RetrainOptions):
    """How to quantise, and for `qat` and `auto` how to train. Options that do not count for the
    method are errors."""

    epochs: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)

    @property
    def listens_to_gate(self) -> bool:
        """`auto` chooses by it."""
        return self.method == "auto"

    def identity(self) -> dict[str, Any]:
        """A calibration file counts by its content."""
        file = self.calibration_file
        calibration = self.calibration if file is None else file_sha256(file)
        return {**self.model_dump(), "calibration": calibration}

    @model_validator(mode="after")
    def _count(self) -> Self:
        method = METHODS[self.method]
        training = {"epochs", *RetrainOptions.model_fields} if method.trains else set()
        counting = method.options | training
        if self.float_layers != "auto":
            counting -= {"output_error"}
        if self.calibration_method != "percentile":
            counting -= {"percentile"}
        idle = sorted(self.model_fields_set - counting - {"method"})
        if idle:
            raise ValueError(
                f"of no effect here, leave it out: {', '.join(idle)}; what counts for method "
                f"{self.method} as it is set up: {', '.join(sorted(counting)) or 'no option'}"
            )
        return self


class Quantize:
    """Post-training quantisation, or quantisation-aware training; checked in the end."""

    name: ClassVar[str] = "quantize"
    family: ClassVar[Family | None] = "quantized"
    options: ClassVar[type[Options]] = QuantizeOptions
    ends_in_graph: ClassVar[bool] = True

    def apply(
        self, candidate: Candidate, options: QuantizeOptions, context: Context, report: Report
    ) -> Candidate:
        """The candidate with a quantised graph; its module is another one only if it was trained.

        Raises:
            TechniqueError: the graph is not what the method says, e.g. a product stayed fp32.
            DataError: the calibration set is empty, misshapen, or off the training window.
        """
        started = time.perf_counter()
        quantised = METHODS[options.method](_job(candidate, options, context), options, report)
        made = replace(
            candidate,
            module=quantised.module,
            onnx=quantised.graph,
            precision=quantised.precision,
        )
        notes = {"method": options.method, **quantised.notes}
        return made.noted(notes, time.perf_counter() - started)


def _job(candidate: Candidate, options: QuantizeOptions, context: Context) -> Job:
    workload = context.workload
    return Job(
        module=candidate.module,
        graph=context.float_graph(candidate.module),
        workload=workload,
        seed=context.seed,
        train=lambda module, report: retrain(
            module,
            retraining_rows(options, context, report),
            options,
            context,
            report,
            epochs=options.epochs,
            seed=context.seed,
            name="quantize",
            bfloat16=False,
        ),
        recalibrate=context.recalibrate,
        judge=lambda graph: context.validation_gate(
            lambda rows: scores_of(graph, workload.gather, rows, workers=1)
        ),
    )
