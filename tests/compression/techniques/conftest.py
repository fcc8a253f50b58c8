"""What the techniques make of the tiny original, each made once."""

from __future__ import annotations

from typing import Any

import pytest

from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.distill import Distill, DistillOptions
from compression.techniques.prune import Prune, PruneOptions
from compression.techniques.quantize import Quantize, QuantizeOptions
from compression.techniques.train import Train, TrainOptions
from tests.compression.graphs.made import stand_in
from tests.compression.techniques.reports import Reports
from tests.support.processor import NEEDS_SEVEN_BITS

STUDENT = {"width": 8, "layers": 1, "heads": 2, "feed_forward": 16}
TRAINING = {
    "student": STUDENT,
    "epochs": 2,
    "batch_rows": 128,
    "learning_rate": 0.01,
    "negatives_per_positive": 0.4,
    "pool_negatives": 2_000,
}
RETRAINING = {
    "batch_rows": 64,
    "max_positives": 300,
    "negatives_per_positive": 1,
    "pool_negatives": 2_000,
    "measure_seconds": 0.02,
}


@pytest.fixture
def stand_in_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of a technique's course: graphs as large as the module's, without the exporter."""
    monkeypatch.setattr(
        Context, "float_graph", lambda self, module: stand_in(parameter_count(module))
    )


@pytest.fixture(scope="session")
def pruned(candidate: Candidate, shared_context: Context) -> Candidate:
    """Half of the structures went, in two rounds."""
    options = PruneOptions.model_validate(
        {**RETRAINING, "remove": 0.5, "rounds": 2, "stop_at_gate": False}
    )
    return Prune().apply(candidate, options, shared_context, Reports())


@pytest.fixture(scope="session")
def distilled(candidate: Candidate, shared_context: Context) -> Candidate:
    """A student of one layer that listened to the tiny original."""
    options = DistillOptions.model_validate(TRAINING)
    return Distill().apply(candidate, options, shared_context, Reports())


@pytest.fixture(scope="session")
def alone(candidate: Candidate, shared_context: Context) -> Candidate:
    """The student's twin without a teacher."""
    return Train().apply(
        candidate, TrainOptions.model_validate(TRAINING), shared_context, Reports()
    )


def quantised_by(candidate: Candidate, context: Context, **options: Any) -> Candidate:
    """The candidate quantised with some options."""
    return Quantize().apply(candidate, QuantizeOptions.model_validate(options), context, Reports())


@pytest.fixture(scope="session")
def int8(candidate: Candidate, shared_context: Context) -> Candidate:
    """The tiny original in int8, ranges measured as it runs."""
    return quantised_by(candidate, shared_context, method="dynamic", reduce_range=NEEDS_SEVEN_BITS)


@pytest.fixture(scope="session")
def int8_static(candidate: Candidate, shared_context: Context) -> Candidate:
    """The tiny original in int8, ranges fixed on a calibration set."""
    return quantised_by(
        candidate, shared_context, method="static", calibration_rows=200,
        reduce_range=NEEDS_SEVEN_BITS,
    )  # fmt: skip


@pytest.fixture(scope="session")
def int8_trained(candidate: Candidate, shared_context: Context) -> Candidate:
    """The tiny original in int8 that training prepared it for."""
    return quantised_by(
        candidate, shared_context, method="qat", calibration_rows=200, batch_rows=64,
        max_positives=150, negatives_per_positive=1, pool_negatives=2_000,
        reduce_range=NEEDS_SEVEN_BITS,
    )  # fmt: skip


@pytest.fixture(params=["int8", "int8_static", "int8_trained"])
def quantized(request: pytest.FixtureRequest) -> Candidate:
    """Each of them."""
    made: Candidate = request.getfixturevalue(request.param)
    return made
