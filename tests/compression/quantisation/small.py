"""Small models of every kind that can be quantised, and rows for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from compression.graphs.export import to_onnx
from compression.graphs.session import open_session, run
from compression.models.scorer import CalibratedScorer, Scorer
from compression.quantisation import Job, Method, QuantisationOptions, Quantised
from compression.store.manifest import Gate, TensorSpec
from compression.training.rows import Inputs
from compression.training.scoring import Floats, Rows

ROWS = 3000
SHAPES: dict[str, tuple[int, ...]] = {"flat": (12,), "tokens": (5, 12), "images": (3, 8, 8)}
PRODUCTS = {"flat": 3, "tokens": 3, "images": 4}


class Flat(nn.Module):
    """Products of two dimensions: Gemm in ONNX."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 12] → logit float32[n]."""
        logit: Tensor = self.layers(x).flatten()
        return logit


class Tokens(nn.Module):
    """Products of three dimensions: MatMul in ONNX; the last one of two."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Linear(12, 24), nn.Linear(24, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 5, 12] → logit float32[n]."""
        hidden = nn.functional.gelu(self.embed(x))
        logit: Tensor = self.head(self.mix(hidden).mean(dim=1)).flatten()
        return logit


class Images(nn.Module):
    """Convolutions, one of them with groups and batch norm, then two Linears."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU6(),
        )  # fmt: skip
        self.layers = nn.Sequential(nn.Linear(8 * 9, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 3, 8, 8] → logit float32[n]."""
        pooled = nn.functional.max_pool2d(self.features(x), 2)
        logit: Tensor = self.layers(pooled.flatten(1)).flatten()
        return logit


BODIES = {"flat": Flat, "tokens": Tokens, "images": Images}


@dataclass(frozen=True)
class SmallWorkload:
    """What methods read of a workload. It has no test window: reading that is an AttributeError."""

    data: npt.NDArray[np.float32]
    outputs: tuple[TensorSpec, ...] = (TensorSpec(name="score", datatype="FP32", shape=(-1,)),)
    train: Rows = field(default_factory=lambda: np.arange(2000))
    validation: Rows = field(default_factory=lambda: np.arange(2000, ROWS))
    days: npt.NDArray[np.int32] = field(
        default_factory=lambda: np.repeat(np.arange(30), 100).astype(np.int32)
    )

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """One input, x."""
        return (TensorSpec(name="x", datatype="FP32", shape=(-1, *self.data.shape[1:])),)

    def gather(self, rows: Rows) -> Inputs:
        """x of rows."""
        return {"x": self.data[rows]}


def workload(kind: str) -> SmallWorkload:
    """Normal values, the last feature with a long tail, as amounts of money have."""
    generator = np.random.default_rng(7)
    data = generator.normal(size=(ROWS, *SHAPES[kind])).astype(np.float32)
    data[..., -1] = np.exp(1.2 * data[..., -1])
    return SmallWorkload(data)


def scorer(kind: str) -> Scorer:
    """A seeded model whose logits spread as a trained one's do."""
    torch.manual_seed(3)
    body = BODIES[kind]().eval()
    with torch.no_grad():
        for part in body.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.get_buffer("running_var").uniform_(0.5, 2.0)
                part.weight.uniform_(0.5, 2.0)
    return CalibratedScorer(body, slope=4.0).eval()


def must_not(*_: object) -> Any:
    """For what a method has no business calling."""
    raise AssertionError("not to be called")


def job_for(module: Scorer, rows: SmallWorkload) -> Job:
    """A job for methods that neither train nor judge."""
    graph = to_onnx(module, rows.gather(rows.train[:3]), "score")
    return Job(module, graph, rows, 0, must_not, must_not, must_not)  # type: ignore[arg-type]


def quantised(method: Method, job: Job, **options: Any) -> Quantised:
    """By a method with some options."""
    chosen = QuantisationOptions.model_validate({"method": method.name, **options})
    return method(job, chosen, lambda done, total: None)


def held_out(job: Job, rows: int = 1000) -> Inputs:
    """Inputs that no calibration set has seen."""
    return job.workload.gather(job.workload.validation[:rows])


def scores(graph: bytes, inputs: Inputs) -> Floats:
    """As a server computes them."""
    return run(open_session(graph), inputs)


def gate(passed: bool, value: float = 0.9) -> Gate:
    """A verdict of one condition with the bound 0.99."""
    return Gate.model_validate(
        {
            "verdict": "passed" if passed else "failed",
            "checks": [
                {
                    "name": "average_precision_ratio",
                    "value": 1.0 if passed else value,
                    "bound": 0.99,
                    "passed": passed,
                }
            ],
        }
    )
