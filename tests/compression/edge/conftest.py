"""Exported students, and Node to run them in; nothing may write to the stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compression.graphs.session import open_session, run
from compression.store import (
    Decision,
    ModelDocument,
    Publisher,
    Samples,
    describe,
)
from compression.techniques.candidate import Candidate, Template
from compression.techniques.context import Context
from compression.techniques.distill import Distill, DistillOptions
from compression.techniques.quantize import Quantize, QuantizeOptions
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.edge.students import ALERT_SHARE, SAMPLE_ROWS, Students
from tests.compression.techniques.reports import Reports
from tests.support.store import build_store, make_manifest
from tests.support.web import WebRuntime

STUDENT = {
    "student": {"width": 16, "layers": 1, "heads": 4, "feed_forward": 32},
    "epochs": 2,
    "batch_rows": 128,
    "learning_rate": 0.01,
    "negatives_per_positive": 0.4,
    "pool_negatives": 1_000,
}
READER = Template(
    "student", {"architecture": "reader", "width": 16, "heads": 2, "feed_forward": 16}
)


@pytest.fixture(scope="session")
def web() -> WebRuntime:
    """onnxruntime-web in Node. Where Node is missing this fails and says what to install."""
    return WebRuntime.install()


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store of hand-made variants, with a PyTorch program among them."""
    return build_store(tmp_path_factory.mktemp("edge") / "store", torch_original=True)


@pytest.fixture(scope="session")
def students(
    candidate: Candidate,
    shared_context: Context,
    tiny_workload: FraudWorkload,
    tmp_path_factory: pytest.TempPathFactory,
) -> Students:
    """`float` and `int8`: a distilled transformer, and the same after static quantisation.

    `reader` and `reader-int8`: the other architecture of students, as it was drawn.
    """
    taught = Distill().apply(
        candidate, DistillOptions.model_validate(STUDENT), shared_context, Reports()
    )
    rows = tiny_workload.test[:SAMPLE_ROWS]
    samples = Samples(
        tiny_workload.gather(rows),
        tiny_workload.labels[rows].astype(np.float32),
        tiny_workload.routing_keys(rows),
    )
    store = str(tmp_path_factory.mktemp("students") / "store")
    publisher = Publisher(store)
    publisher.publish_model(_document(tiny_workload), samples)
    reader = Candidate(READER, READER.build(tiny_workload))
    for name, candidate_ in (("", taught), ("reader", reader)):
        exact, small = _precisions(candidate_, shared_context)
        _publish(publisher, name or "float", "fp32", exact, samples)
        _publish(publisher, f"{name}-int8".strip("-"), "int8", small, samples)
    return Students(store, samples)


def _precisions(student: Candidate, context: Context) -> tuple[bytes, bytes]:
    """The student's graph in float, and in static int8.

    With weights of seven bits every processor computes alike: where it has no VNNI the products of
    eight overflow in the server's runtime, and not in the browser's.
    """
    static = QuantizeOptions(method="static", calibration_rows=200, reduce_range=True)
    small = Quantize().apply(student, static, context, Reports()).onnx
    assert small is not None
    return context.float_graph(student.module), small


def _document(workload: FraudWorkload) -> ModelDocument:
    return ModelDocument(
        name="fraud",
        workload="fraud",
        inputs=workload.inputs,
        outputs=workload.outputs,
        decision=Decision(output="score", threshold=0.5),
        routing_key="customer_id",
        champion="float",
        samples=describe("samples.npz", b""),
    )


def _publish(
    publisher: Publisher, name: str, precision: str, graph: bytes, samples: Samples
) -> None:
    """With the threshold where a tenth of the samples are alerts: decisions of both kinds."""
    scores = run(open_session(graph), samples.rows(0, len(samples)))
    threshold = float(np.quantile(scores, 1 - ALERT_SHARE))
    manifest = make_manifest(name, graph, scores[:32].tolist(), threshold=threshold)
    runtime = manifest.runtime.model_copy(update={"precision": precision})
    publisher.publish_variant(
        manifest.model_copy(update={"runtime": runtime}), {"model.onnx": graph}
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "app" / "model"
