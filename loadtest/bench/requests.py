"""What the contenders are sent: the same rows, in the form that each of them reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loadtest.payloads import binary_body, body
from loadtest.store import Model, Samples


@dataclass(frozen=True)
class Request:
    """A body in a file, to be posted; `form` is `json` or `binary`."""

    form: str
    rows: int
    body: Path
    headers: dict[str, str] = field(default_factory=dict)


class Requests:
    """Writes request bodies of a store's first held-out rows below a folder."""

    def __init__(self, model: Model, samples: Samples, folder: Path) -> None:
        self._model = model
        self._samples = samples
        self._folder = folder

    def protocol(self) -> Request:
        """One row in the Open Inference Protocol's JSON."""
        return self._written(Request("json", 1, self._folder / "request-oip.json"), self._json())

    def binary(self, rows: int) -> Request:
        """Rows in its binary extension, the answer binary as well."""
        content, headers = binary_body(self._model, self._samples, 0, rows)
        request = Request("binary", rows, self._folder / f"request-oip-{rows}.bin", headers)
        return self._written(request, content)

    def plain(self) -> Request:
        """One row as one would write it by hand: inputs by name, nested lists."""
        inputs = {name: array[0].tolist() for name, array in self._samples.inputs.items()}
        content = json.dumps({"inputs": inputs}).encode()
        return self._written(Request("json", 1, self._folder / "request-plain.json"), content)

    def arrays(self, rows: int) -> Path:
        """Rows as an archive of arrays, for a loop that speaks no protocol."""
        path = self._folder / f"inputs-{rows}.npz"
        index = np.arange(rows) % len(self._samples)
        arrays = {name: array[index] for name, array in self._samples.inputs.items()}
        np.savez(path, **arrays)  # type: ignore[arg-type]  # an input could be named `allow_pickle`
        return path

    def _json(self) -> bytes:
        return body(self._model, self._samples, 0, 1)

    @staticmethod
    def _written(request: Request, content: bytes) -> Request:
        request.body.write_bytes(content)
        return request
