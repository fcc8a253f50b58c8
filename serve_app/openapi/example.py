"""A request that works: one of the model's shipped samples, in the forms that a client may send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.store import Manifest, ModelDocument, ModelStore, TensorSpec
from serve_app.protocol.fields import by_name
from serve_app.protocol.rows import ROWS, fields_are_the_rows, key_field
from serve_app.protocol.scores import decided_output

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Example:
    """The first sample: its inputs, each an array of one row, and its routing key."""

    inputs: Mapping[str, npt.NDArray[Any]]
    routing_key: str

    @classmethod
    def read(cls, store: ModelStore, model: str) -> Example:
        """Read it from the store.

        Raises:
            StoreError: the samples are missing or corrupt.
        """
        samples = store.samples(model)
        return cls(samples.rows(0, 1), str(samples.routing_keys[0]))

    def score_request(self, document: ModelDocument) -> Json:
        """Body of POST …/score, features by name where they have names."""
        values = {spec.name: self._value(spec) for spec in document.inputs}
        alone = fields_are_the_rows(document.inputs)
        row = values[document.inputs[0].name] if alone else values
        request: Json = {ROWS: [row]}
        if (name := key_field(document)) is not None:
            request[name] = self.routing_key
        return request

    def score_answer(self, document: ModelDocument, champion: Manifest) -> Json | None:
        """What the champion recorded for that row when it was made, as POST …/score gives it.

        None where a row has several numbers: manifests record one.
        """
        if len(decided_output(document).shape) > 1:
            return None
        score = champion.probe_scores[0]
        row: Json = {
            "score": score, "decision": score >= champion.decision_threshold,
            "variant": champion.name, "why": "weight", "table_version": 1,
        }  # fmt: skip
        return {"model": document.name, "experiment": "default", ROWS: [row]}

    def infer_request(self, document: ModelDocument) -> Json:
        """Body of POST …/infer."""
        return {
            "inputs": [
                {
                    "name": spec.name,
                    "shape": list(self.inputs[spec.name].shape),
                    "datatype": spec.datatype,
                    "data": _short(self.inputs[spec.name].ravel()),
                }
                for spec in document.inputs
            ],
            "parameters": {document.routing_key: self.routing_key},
        }

    def _value(self, spec: TensorSpec) -> Any:
        """The row's value, its innermost arrays as objects where their places have names."""
        value = _short(self.inputs[spec.name][0])
        return value if spec.features is None else by_name(spec.features, value)


def _short(array: npt.NDArray[Any]) -> Any:
    """Nested lists of the shortest decimals that read back as the same numbers."""
    if array.dtype in (np.float16, np.float32):
        array = np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape)
    return array.tolist()
