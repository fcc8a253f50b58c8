"""Batches of fixed sizes, recorded once and replayed: CUDA graphs.

A small model on a GPU waits for the CPU, which starts its kernels one by one: 43 of them take
330 µs for a student of 50 µs on the CPU. Recorded, they are started together. A recording is of one
batch size and of tensors that stay where they are on the device, so a batch is copied into the next
larger recording, and what is computed in the rows left over is thrown away. `make bench-devices`
measures it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from serve_app.runners.base import Arrays
from serve_app.runners.providers import GPU_LOCK

_ID = "gpu_graph_id"
_NOT_RECORDED = "-1"
_CALLS = 7
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Recording:
    """Tensors of one batch size: `staged` on this side, the others on the device."""

    staged: Arrays
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    binding: Any
    options: Any

    def holds(self, feed: Arrays) -> bool:
        """Whether a batch has its shape but for the rows: longer texts, say, are another's."""
        return all(feed[name].shape[1:] == array.shape[1:] for name, array in self.staged.items())


class Replay:
    """Recordings of one session, by rows. May be called from any one thread at a time; each new
    thread records for itself, at its first batch of a size, within milliseconds."""

    def __init__(
        self, session: onnxruntime.InferenceSession, outputs: Sequence[str], device: str = "cuda"
    ) -> None:
        """`session` was opened for it; `device` is where it computes, ONNX Runtime's name."""
        self.session = session
        self._outputs = tuple(outputs)
        self._device = device
        self._recordings: dict[int, _Recording] = {}
        self._plain = onnxruntime.RunOptions()
        self._plain.add_run_config_entry(_ID, _NOT_RECORDED)

    @property
    def most_rows(self) -> int:
        """Rows of the largest recording, 0: there is none."""
        return max(self._recordings, default=0)

    def run(self, feed: Arrays) -> Arrays:
        """Outputs of a batch by name, from a recording if there is one that holds it."""
        rows = len(next(iter(feed.values())))
        recording = self._recordings.get(_room_for(rows))
        with GPU_LOCK:
            if recording is None or not recording.holds(feed):
                return self._compute(feed)
            return self._replay(recording, feed, rows)

    def record(self, batch_of: Callable[[int], Arrays], rows: int) -> None:
        """Record sizes up to `rows`, those that pay; `batch_of(n)` is a batch of n real rows.

        A size pays if its recording is no slower than half as many rows and one more without it:
        so much of a batch may be there for nothing.
        """
        with GPU_LOCK:
            self._record(batch_of, rows)

    def _record(self, batch_of: Callable[[int], Arrays], rows: int) -> None:
        sizes = [1 << power for power in range(_room_for(rows).bit_length())]
        # All tensors before the first recording: what it computed in is free for others after it.
        made = {size: self._make(batch_of(size)) for size in sizes}
        for size, recording in made.items():
            feed, fewest = batch_of(size), batch_of(size // 2 + 1)
            self._check(recording, feed, size)
            seconds = _seconds(partial(self._replay, recording, feed, size))
            if seconds <= _seconds(partial(self._compute, fewest)):
                self._recordings[size] = recording

    def forget(self) -> None:
        """Use no recording."""
        self._recordings.clear()

    def _compute(self, feed: Arrays) -> Arrays:
        values = self.session.run(self._outputs, feed, self._plain)
        return dict(zip(self._outputs, values, strict=True))

    def _make(self, feed: Arrays) -> _Recording:
        staged = {name: np.array(array, order="C") for name, array in feed.items()}
        inputs = {name: self._place(array) for name, array in staged.items()}
        outputs = {name: self._place(array) for name, array in self._compute(feed).items()}
        binding = self.session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        options = onnxruntime.RunOptions()
        options.add_run_config_entry(_ID, str(len(next(iter(feed.values())))))
        return _Recording(staged, inputs, outputs, binding, options)

    def _place(self, array: npt.NDArray[Any]) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self._device, 0)

    def _replay(self, recording: _Recording, feed: Arrays, rows: int) -> Arrays:
        for name, value in recording.inputs.items():
            staged = recording.staged[name]
            staged[:rows] = feed[name]
            value.update_inplace(staged)
        self.session.run_with_iobinding(recording.binding, recording.options)
        # A copy: of a tensor on the CPU `numpy()` is the tensor itself, the next batch's too.
        return {name: value.numpy()[:rows].copy() for name, value in recording.outputs.items()}

    def _check(self, recording: _Recording, feed: Arrays, rows: int) -> None:
        """Compare with what is computed without it.

        Raises:
            ValueError: it is something else.
        """
        expected = self._compute(feed)
        for _ in range(2):  # the first records, the second replays
            given = self._replay(recording, feed, rows)
        for name, value in expected.items():
            if not np.allclose(given[name], value, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise ValueError(f"recorded, {rows} rows have another {name}")


def _room_for(rows: int) -> int:
    """The least power of two that is no less."""
    return 1 << (rows - 1).bit_length()


def _seconds(call: Callable[[], object]) -> float:
    least = math.inf
    for _ in range(_CALLS):
        started = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - started)
    return least
