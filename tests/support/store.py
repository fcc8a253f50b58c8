"""A model store of tiny variants, made in well under a second.

The model scores `sigmoid(w · transaction + v · mean(history))`. Its variants:

* `original`: the champion, float;
* `close`: nearly the same weights, passes the gate, decides nearly alike;
* `opposite`: weights negated, so that it decides differently on most rows;
* `poor`: like `close`, but its gate failed;
* `fragile`: fails inside ONNX Runtime on rows whose first feature is `MARKER`;
* `slow`: multiplies large matrices, some milliseconds a call.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compression.store import (
    ChainStep,
    Decision,
    Estimate,
    Gate,
    Latency,
    Lineage,
    Machine,
    Manifest,
    ModelDocument,
    Publisher,
    Quality,
    RowLatency,
    Runtime,
    Samples,
    TensorSpec,
    describe,
)
from compression.store.layout import PROBE_ROWS

MODEL = "fraud"
CHAMPION = "original"
MARKER = 1000.0
THRESHOLD = 0.5
SAMPLE_ROWS = 64
SLOW_SIZE = 700

TRANSACTION = ("amount", "night", "risk", "distance")
HISTORY = ("amount", "hours_before")

Inputs = dict[str, npt.NDArray[Any]]

_W = np.array([0.9, -0.6, 0.4, 0.2], dtype=np.float32)
_V = np.array([0.5, -0.3], dtype=np.float32)
_HASH = "0" * 64


def make_samples(rows: int = SAMPLE_ROWS, seed: int = 7) -> Samples:
    """Rows of `transaction` float32[n,4] and `history` float32[n,3,2]."""
    generator = np.random.default_rng(seed)
    return Samples(
        inputs={
            "transaction": generator.normal(size=(rows, 4)).astype(np.float32),
            "history": generator.normal(size=(rows, 3, 2)).astype(np.float32),
        },
        labels=(generator.random(rows) < 0.3).astype(np.float32),
        routing_keys=np.array([f"customer-{row}" for row in range(rows)]),
    )


def scores(inputs: Inputs, sign: float = 1.0, shift: float = 0.0) -> npt.NDArray[np.float32]:
    """What the variants compute, in numpy: float32[n]."""
    logit = inputs["transaction"] @ _W + inputs["history"].mean(axis=1) @ _V
    return np.asarray(1.0 / (1.0 + np.exp(-(sign * logit + shift))), dtype=np.float32)


def make_onnx(
    sign: float = 1.0, shift: float = 0.0, *, fragile: bool = False, slow: bool = False
) -> bytes:
    """The graph of one variant."""
    constants = [
        numpy_helper.from_array(sign * _W, "w"),
        numpy_helper.from_array(sign * _V, "v"),
        numpy_helper.from_array(np.array(shift, dtype=np.float32), "shift"),
    ]
    nodes = [
        helper.make_node("MatMul", ["transaction", "w"], ["a"]),
        helper.make_node("ReduceMean", ["history"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Add", ["ab", "shift"], ["logit"]),
    ]
    last = "logit"
    if fragile:
        nodes += _gather_out_of_range(constants)
        last = "guarded"
    if slow:
        nodes += _burn(constants, last)
        last = "burnt"
    nodes.append(helper.make_node("Sigmoid", [last], ["score"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("transaction", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("history", TensorProto.FLOAT, ["batch", 3, 2]),
        ],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _gather_out_of_range(constants: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Adds table[floor(|transaction[:, 0]| / MARKER)], and the table has one entry, zero."""
    constants += [
        numpy_helper.from_array(np.zeros(1, dtype=np.float32), "table"),
        numpy_helper.from_array(np.array(0, dtype=np.int64), "first"),
        numpy_helper.from_array(np.array(MARKER, dtype=np.float32), "marker"),
    ]
    return [
        helper.make_node("Gather", ["transaction", "first"], ["column"], axis=1),
        helper.make_node("Abs", ["column"], ["magnitude"]),
        helper.make_node("Div", ["magnitude", "marker"], ["ratio"]),
        helper.make_node("Cast", ["ratio"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["zero"], axis=0),
        helper.make_node("Add", ["logit", "zero"], ["guarded"]),
    ]


def _burn(constants: list[onnx.TensorProto], logit: str) -> list[onnx.NodeProto]:
    """Adds 0 · sum of a large product that depends on the input, so it is not folded away."""
    square = np.full((SLOW_SIZE, SLOW_SIZE), 1e-4, dtype=np.float32)
    constants += [
        numpy_helper.from_array(square, "square"),
        numpy_helper.from_array(np.array(0.0, dtype=np.float32), "nothing"),
    ]
    return [
        helper.make_node("ReduceMax", ["logit"], ["some"], keepdims=0),
        helper.make_node("Add", ["square", "some"], ["p0"]),
        helper.make_node("MatMul", ["p0", "square"], ["p1"]),
        helper.make_node("MatMul", ["p1", "square"], ["p2"]),
        helper.make_node("MatMul", ["p2", "square"], ["p3"]),
        helper.make_node("ReduceMean", ["p3"], ["p4"], keepdims=0),
        helper.make_node("Mul", ["p4", "nothing"], ["p5"]),
        helper.make_node("Add", [logit, "p5"], ["burnt"]),
    ]


def make_program() -> bytes:
    """The original as a torch exported program. Imports torch."""
    import torch

    from compression.store.archive import strip_sample_inputs

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.from_numpy(_W.copy()))
            self.v = torch.nn.Parameter(torch.from_numpy(_V.copy()))

        def forward(self, transaction: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(transaction @ self.w + history.mean(dim=1) @ self.v)

    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(
        Network().eval(),
        (torch.zeros(2, 4), torch.zeros(2, 3, 2)),
        dynamic_shapes={"transaction": {0: batch}, "history": {0: batch}},
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return strip_sample_inputs(buffer.getvalue())


def make_manifest(
    name: str,
    artifact: bytes,
    probe_scores: Sequence[float],
    *,
    engine: str = "onnxruntime",
    verdict: str = "passed",
    threshold: float = THRESHOLD,
) -> Manifest:
    """A manifest whose figures are made up; hashes and probe scores are not."""
    path = "model.pt2" if engine == "torch" else "model.onnx"
    estimate = Estimate(value=0.7, low=0.68, high=0.72)
    machine = Machine(cpu="test", cores=1, threads=1, memory_bytes=1, platform="test")
    original = name == CHAMPION
    return Manifest.model_validate(
        {
            "model": MODEL,
            "name": name,
            "family": "original" if original else "distilled",
            "created_at": "2026-01-01T00:00:00Z",
            "runtime": Runtime(engine=engine, artifact=path, precision="fp32"),  # type: ignore[arg-type]
            "files": (describe(path, artifact),),
            "lineage": Lineage(
                parent=None if original else CHAMPION,
                chain=(ChainStep(technique="none", seconds=0.0),),
                recipe_sha256=_HASH,
                content_sha256=_HASH,
                data_sha256=_HASH,
                seed=7,
            ),
            "parameters": 6,
            "flops_per_row": 20,
            "decision_threshold": threshold,
            "quality": Quality(
                test="made up", rows=1000, positives=10, distinct_scores=900,
                metrics={"average_precision": estimate},
            ),
            "gate": Gate(verdict="reference" if original else verdict),  # type: ignore[arg-type]
            "latency": Latency(
                machine=machine,
                by_rows=(
                    RowLatency(
                        rows=1, calls=1, p50_seconds=1e-5, p90_seconds=1e-5, p99_seconds=1e-5
                    ),
                ),
            ),
            "probe_scores": tuple(probe_scores),
        }
    )  # fmt: skip


def make_document(champion: str = CHAMPION) -> ModelDocument:
    """`model.json` of the tiny model."""
    return ModelDocument(
        name=MODEL,
        workload="tiny",
        inputs=(
            TensorSpec(name="transaction", datatype="FP32", shape=(-1, 4), features=TRANSACTION),
            TensorSpec(name="history", datatype="FP32", shape=(-1, 3, 2), features=HISTORY),
        ),
        outputs=(TensorSpec(name="score", datatype="FP32", shape=(-1,)),),
        decision=Decision(output="score", threshold=THRESHOLD),
        routing_key="customer_id",
        champion=champion,
        samples=describe("samples.npz", b""),
    )


def publish(
    publisher: Publisher,
    name: str,
    artifact: bytes,
    *,
    sign: float = 1.0,
    shift: float = 0.0,
    engine: str = "onnxruntime",
    verdict: str = "passed",
    probe_offset: float = 0.0,
) -> None:
    """Publish one variant; `probe_offset` falsifies its recorded scores."""
    probes = scores(make_samples().rows(0, PROBE_ROWS), sign, shift) + probe_offset
    manifest = make_manifest(name, artifact, probes.tolist(), engine=engine, verdict=verdict)
    publisher.publish_variant(manifest, {manifest.runtime.artifact: artifact})


def build_store(folder: Path, *, torch_original: bool = False) -> str:
    """Publish the model with all its variants and return the store's URI.

    With `torch_original`, further variants are `program`, the torch exported program, the pair
    `heavy` and `heavy-apart`: one artifact, slow and fragile, to be served in both placements, and
    `elastic`, as slow, to be served by replicas that follow the load.
    """
    publisher = Publisher(str(folder))
    publisher.publish_model(make_document(), make_samples())
    publish(publisher, CHAMPION, make_onnx())
    publish(publisher, "close", make_onnx(shift=0.01), shift=0.01)
    publish(publisher, "opposite", make_onnx(sign=-1.0), sign=-1.0)
    publish(publisher, "poor", make_onnx(shift=0.02), shift=0.02, verdict="failed")
    publish(publisher, "fragile", make_onnx(fragile=True))
    publish(publisher, "slow", make_onnx(slow=True))
    if torch_original:
        publish(publisher, "program", make_program(), engine="torch")
        for name in ("heavy", "heavy-apart"):
            publish(publisher, name, make_onnx(fragile=True, slow=True))
        publish(publisher, "elastic", make_onnx(slow=True))
    return str(folder)


def score_body(rows: int = 1, *, start: int = 0, **more: Any) -> dict[str, Any]:
    """A request to score sample rows, with named fields."""
    batch = make_samples().rows(start, start + rows)
    return {
        "rows": [
            {
                "transaction": dict(zip(TRANSACTION, transaction, strict=True)),
                "history": [dict(zip(HISTORY, step, strict=True)) for step in history],
            }
            for transaction, history in zip(
                batch["transaction"].tolist(), batch["history"].tolist(), strict=True
            )
        ],
        **more,
    }


def request_body(rows: int = 1, *, start: int = 0, **parameters: Any) -> dict[str, Any]:
    """A request of the protocol with sample rows, flat data."""
    batch = make_samples().rows(start, start + rows)
    body: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": "FP32",
                "data": array.ravel().tolist(),
            }
            for name, array in batch.items()
        ]
    }
    if parameters:
        body["parameters"] = parameters
    return body


def check_answers_stay(run: Callable[[Inputs], Inputs], atol: float) -> None:
    """What a runner answered must not change when it computes the next batch."""
    first = make_samples().rows(0, 2)
    answer = run(first)["score"]
    run(make_samples().rows(20, 22))
    np.testing.assert_allclose(answer, scores(first), atol=atol)
