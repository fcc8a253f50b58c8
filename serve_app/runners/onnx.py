"""ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnxruntime

from compression.store import CorruptArtifactError
from serve_app.errors import UnusableGpuError
from serve_app.runners.base import Arrays, Aside
from serve_app.runners.onnx_aside import Worker
from serve_app.runners.providers import (
    CUDA,
    GPU_LOCK,
    choose_providers,
    describe_session,
    open_session,
)
from serve_app.runners.replay import Replay

_log = logging.getLogger("serve_app")


class OnnxRunner:
    """Runs a `model.onnx` with the execution providers that are there."""

    platform = "onnxruntime_onnx"

    def __init__(
        self,
        artifact: bytes,
        outputs: Sequence[str],
        threads: int,
        *,
        providers: Sequence[str] | None = None,
        graphs: bool = True,
    ) -> None:
        """`outputs` are the names to compute; `threads` is ONNX Runtime's intra-op pool.

        `providers` are those to use, by default the best that are there; `graphs`: with CUDA,
        record batches and replay them.

        Raises:
            CorruptArtifactError: ONNX Runtime refuses the model, or it lacks an output.
            UnusableGpuError: this process has a GPU, and ONNX Runtime cannot compute on it.
        """
        if providers is None:
            providers = choose_providers(onnxruntime.get_available_providers())
        self._replay: Replay | None = None
        try:
            if graphs and CUDA in providers:
                self._replay = _recordable(artifact, providers, threads, outputs)
            self._session = (
                open_session(artifact, providers, threads)
                if self._replay is None
                else self._replay.session
            )
        except UnusableGpuError:
            raise
        except Exception as error:
            raise CorruptArtifactError(f"ONNX Runtime cannot open the model: {error}") from error
        present = {output.name for output in self._session.get_outputs()}
        if missing := sorted(set(outputs) - present):
            raise CorruptArtifactError(f"the graph has outputs {sorted(present)}, not {missing}")
        self.parallel = CUDA not in self._session.get_providers()
        self._takes = tuple(spec.name for spec in self._session.get_inputs())
        self._outputs = tuple(outputs)
        self._threads = threads
        self._where = f"{describe_session(self._session)}, {threads} thread(s)"

    @property
    def detail(self) -> str:
        """See `Runner.detail`."""
        recorded = self._replay.most_rows if self._replay is not None else 0
        graphs = f", CUDA graphs of up to {recorded} rows" if recorded else ""
        return f"onnxruntime {onnxruntime.__version__}, {self._where}{graphs}"

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Runner.run`. An input that the graph does not use is left out."""
        feed = {name: inputs[name] for name in self._takes}
        if self._replay is not None:
            return self._replay.run(feed)
        if self.parallel:
            values = self._session.run(self._outputs, feed)
        else:
            with GPU_LOCK:
                values = self._session.run(self._outputs, feed)
        return dict(zip(self._outputs, values, strict=True))

    def aside(self, artifact: bytes) -> Aside | None:
        """See `Runner.aside`. On a GPU there is one stream of work, and calls take turns."""
        if not self.parallel:
            return None
        return Worker(artifact, self._takes, self._outputs, self._threads)

    def warm_up(self, batch_of: Callable[[int], Arrays], rows: int) -> bool:
        """See `Runner.warm_up`. On a GPU it records batches."""
        self.run(batch_of(rows))
        if self._replay is None:
            return False

        def fed(count: int) -> Arrays:
            batch = batch_of(count)
            return {name: batch[name] for name in self._takes}

        try:
            self._replay.record(fed, rows)
        except Exception as error:  # noqa: BLE001 - without it the model computes the same
            _log.warning("no CUDA graphs: %s", error)
            self._replay.forget()
        return self._replay.most_rows > 0


def _recordable(
    artifact: bytes, providers: Sequence[str], threads: int, outputs: Sequence[str]
) -> Replay | None:
    """For recordings, None: ONNX Runtime cannot record the model. It refuses where CUDA has no
    kernel for a step, as of int8 products, and the step is the CPU's."""
    try:
        return Replay(open_session(artifact, providers, threads, graphs=True), outputs)
    except UnusableGpuError:
        raise
    except Exception as error:  # noqa: BLE001 - a model that is broken is refused without, too
        _log.info("no CUDA graphs: %s", error)
        return None
