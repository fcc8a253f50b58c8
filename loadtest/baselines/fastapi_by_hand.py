"""What one writes in an afternoon: FastAPI, a pydantic model, one ONNX Runtime session.

SLIMSERVE_BENCH_MODEL=model.onnx uvicorn loadtest.baselines.fastapi_by_hand:app
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

from loadtest.baselines.model import open_model

app = FastAPI()
_session = open_model()


class Row(BaseModel):
    """One row: every input of the model as nested lists, without the batch dimension."""

    inputs: dict[str, Any]


class Score(BaseModel):
    """The answer."""

    score: float


@app.get("/health")
async def health() -> dict[str, bool]:
    """Answers once the model is open."""
    return {"ready": True}


@app.post("/score")
async def score(row: Row) -> Score:
    """Score one row."""
    feed = {name: np.array([values], dtype=np.float32) for name, values in row.inputs.items()}
    return Score(score=float(_session.run(None, feed)[0].ravel()[0]))
