"""`samples.npz`: held-out real requests with labels, for warm-up, load tests and probes.

Arrays: `input.<name>` (one per model input, batch first), `label` float32[n] and `routing_key`
unicode[n]. numpy's own format without pickled objects.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.store.errors import CorruptArtifactError

_INPUT = "input."
_UNREADABLE = (
    ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error
)  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Held-out requests. `inputs` maps input name → array of n rows.

    `labels` is float32[n], `routing_keys` unicode[n].
    """

    inputs: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[np.float32]
    routing_keys: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
        """Inputs of the rows start..stop, wrapping around at the end."""
        index = np.arange(start, stop) % len(self)
        return {name: np.ascontiguousarray(array[index]) for name, array in self.inputs.items()}

    def to_bytes(self) -> bytes:
        """The file's content."""
        arrays: dict[str, npt.NDArray[Any]] = {_INPUT + n: a for n, a in self.inputs.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, label=self.labels, routing_key=self.routing_keys, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Samples:
        """Read the file's content; pickled objects are refused.

        Raises:
            CorruptArtifactError: not an npz of plain arrays, an array missing, or lengths differ.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            labels = arrays.pop("label").astype(np.float32)
            keys = arrays.pop("routing_key").astype(np.str_)
            lengths = {len(array) for array in (labels, keys, *arrays.values())}
        except _UNREADABLE as error:
            raise CorruptArtifactError(
                f"samples.npz cannot be read: {error}; publish the model again"
            ) from error
        inputs = {name.removeprefix(_INPUT): array for name, array in arrays.items()}
        if not inputs or lengths == {0}:
            raise CorruptArtifactError("samples.npz has no inputs or no rows: publish it again")
        if len(lengths) != 1:
            raise CorruptArtifactError(
                f"samples.npz has arrays of unequal lengths, {sorted(lengths)}: publish it again"
            )
        return cls(inputs, labels, keys)
