"""ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from compression.store import CorruptArtifactError
from serve_app.runners.base import Arrays

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OnnxRunner:
    """Runs a `model.onnx` with the execution providers that are there."""

    platform = "onnxruntime_onnx"

    def __init__(self, artifact: bytes, outputs: Sequence[str], threads: int) -> None:
        """`outputs` are the names to compute; `threads` is ONNX Runtime's intra-op pool.

        Raises:
            CorruptArtifactError: ONNX Runtime refuses the model, or it lacks an output.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Spinning pools of several sessions fight for the cores of one box.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        providers = choose_providers(onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(artifact, options, providers=providers)
        except Exception as error:
            raise CorruptArtifactError(f"ONNX Runtime cannot open the model: {error}") from error
        present = {output.name for output in self._session.get_outputs()}
        if missing := sorted(set(outputs) - present):
            raise CorruptArtifactError(f"the graph has outputs {sorted(present)}, not {missing}")
        self._takes = tuple(spec.name for spec in self._session.get_inputs())
        self._outputs = tuple(outputs)
        used = ",".join(self._session.get_providers())
        self.detail = f"onnxruntime {onnxruntime.__version__}, {used}, {threads} thread(s)"

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Runner.run`. An input that the graph does not use is left out."""
        feed = {name: inputs[name] for name in self._takes}
        values = self._session.run(self._outputs, feed)
        return dict(zip(self._outputs, values, strict=True))


@cache
def _share_arena() -> None:
    """One arena for what all sessions of the process compute in, instead of one for each.

    An arena keeps the memory of the largest batch it has seen. Eleven variants of the fraud model
    after batches of 1 to 64 rows: 241 MB each in its own, 58 MB together, calls as fast. (Growing
    it by no more than is asked for, `kSameAsRequested`, took 909 MB: it falls to pieces.)
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    defaults = onnxruntime.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": 0,
            "initial_chunk_size_bytes": -1,
            "max_dead_bytes_per_chunk": -1,
        }
    )
    onnxruntime.create_and_register_allocator(memory, defaults)


def choose_providers(built_in: Sequence[str], devices: Path = Path("/dev")) -> list[str]:
    """Execution providers to use: CUDA where this build, this machine and this process have it.

    onnxruntime-gpu lists CUDA on machines without a GPU too, and then complains when asked for
    it. Ray hides the GPUs from a replica that reserved none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1", "NoDevFiles")
    has_gpu = visible and any(devices.glob("nvidia[0-9]*"))
    return [_CUDA, _CPU] if has_gpu and _CUDA in built_in else [_CPU]
