"""Ray Serve as its tutorials show it: a FastAPI ingress and a model deployment with batching.

    SLIMSERVE_BENCH_MODEL=model.onnx serve run loadtest.baselines.ray_tutorial:app

One thing is kinder than the default: `max_ongoing_requests` is raised from 5 to 100, which would
otherwise cap the batches silently.
"""

# No postponed annotations here: FastAPI must see the types of a class that Ray ships by value.
import os
from typing import Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve.handle import DeploymentHandle

api = FastAPI()


class Row(BaseModel):
    """One row: every input of the model as nested lists, without the batch dimension."""

    inputs: dict[str, Any]


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Model:
    """Runs the ONNX file."""

    def __init__(self, path: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.01)
    async def score(self, rows: list[dict[str, Any]]) -> list[float]:
        """One score per row."""
        feed = {name: np.array([row[name] for row in rows], dtype=np.float32) for name in rows[0]}
        scores = self._session.run(None, feed)[0]
        return [float(score) for score in scores]

    async def __call__(self, row: dict[str, Any]) -> float:
        """Score of one row."""
        score: float = await self.score(row)
        return score


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
@serve.ingress(api)
class Gateway:
    """Takes the request apart and asks the model."""

    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self._model = model

    @api.get("/health")
    async def health(self) -> dict[str, bool]:
        """Answers once replicas are up."""
        return {"ready": True}

    @api.post("/score")
    async def score(self, row: Row) -> dict[str, float]:
        """Score one row."""
        return {"score": await self._model.remote(row.inputs)}


_model: Any = Model
_gateway: Any = Gateway
app = _gateway.bind(_model.bind(os.environ.get("SLIMSERVE_BENCH_MODEL", "model.onnx")))
