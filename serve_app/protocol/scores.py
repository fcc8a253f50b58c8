"""Answers of POST …/score: every row says for itself who scored it and why."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy.typing as npt

from compression.store import ModelDocument, TensorSpec
from serve_app.protocol.fields import by_name
from serve_app.protocol.messages import encode


def decided_output(document: ModelDocument) -> TensorSpec:
    """The output that the model's decision is made on."""
    return next(spec for spec in document.outputs if spec.name == document.decision.output)


class RowScore(msgspec.Struct, gc=False, omit_defaults=True):
    """One row's answer, complete in itself, so that it can be kept beside the row."""

    score: Any
    """A number, or several by the output's names, or in their order where they have none."""
    decision: bool | None
    """`score` is at least the variant's threshold; None where a row has several numbers."""
    variant: str
    why: str
    table_version: int
    failed_variant: str | None = None


class ScoreResponse(msgspec.Struct, gc=False):
    """Answer of POST …/score, the rows in the request's order."""

    model: str
    experiment: str
    rows: list[RowScore]


class ScoresWriter:
    """Writes answers for one model, of the output that its decision is made on."""

    def __init__(self, document: ModelDocument) -> None:
        output = decided_output(document)
        self._model = document.name
        self._output = output.name
        self._features = output.features
        self._single = len(output.shape) == 1

    def write(
        self,
        outputs: dict[str, npt.NDArray[Any]],
        threshold: float,
        parameters: dict[str, str | int],
    ) -> bytes:
        """The body; `threshold` is the answering variant's.

        `parameters` are `variant`, `why`, `table_version`, `experiment` and, where another one
        should have answered, `failed_variant`.
        """
        told = {**parameters}
        experiment = str(told.pop("experiment"))
        given = outputs[self._output]
        decisions = (given >= threshold).tolist() if self._single else [None] * len(given)
        scores = given.tolist()
        if self._features is not None:
            scores = by_name(self._features, scores)
        rows = [
            RowScore(score, decision, **told)  # type: ignore[arg-type]
            for score, decision in zip(scores, decisions, strict=True)
        ]
        return encode(ScoreResponse(self._model, experiment, rows))
