"""ONNX Runtime's execution providers: which are chosen here, and whether they are really used."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import onnxruntime

from serve_app.errors import UnusableGpuError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_ERRORS_ONLY, _NOTHING = 3, 4

GPU_LOCK = threading.RLock()
"""While one thread records, what another asks of CUDA fails and spoils the recording: sessions of a
process take turns. A replica has one."""

_CUDA_OPTIONS = {
    "device_id": "0",
    # Not by powers of two: replicas that share a GPU share its memory.
    "arena_extend_strategy": "kSameAsRequested",
    # TF32 rounds what goes into a product to ten bits: scores of the fraud models moved by 6e-5,
    # by 3e-8 without it.
    "use_tf32": "0",
}


def choose_providers(built_in: Sequence[str], devices: Path = Path("/dev")) -> list[str]:
    """Execution providers to use: CUDA where this build, this machine and this process have it.

    onnxruntime-gpu lists CUDA on machines without a GPU too, and then complains when asked for
    it. Ray hides the GPUs from a replica that reserved none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1", "NoDevFiles")
    has_gpu = visible and any(devices.glob("nvidia[0-9]*"))
    return [CUDA, CPU] if has_gpu and CUDA in built_in else [CPU]


def open_session(
    artifact: bytes, providers: Sequence[str], threads: int, *, graphs: bool = False
) -> onnxruntime.InferenceSession:
    """A session set for serving; `graphs` asks CUDA to record what it is given an id for.

    Raises:
        UnusableGpuError: CUDA was asked for, and ONNX Runtime would compute without it.
        Exception: ONNX Runtime's own, if it refuses the model, or to record it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _NOTHING if graphs else _ERRORS_ONLY
    # Spinning pools of several sessions fight for the cores of one box.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    _share_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    if CUDA not in providers:
        return onnxruntime.InferenceSession(artifact, options, providers=list(providers))
    _load_cuda()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    cuda = {**_CUDA_OPTIONS, "enable_cuda_graph": "1" if graphs else "0"}
    named = [(CUDA, cuda) if name == CUDA else name for name in providers]
    with GPU_LOCK:
        session = onnxruntime.InferenceSession(artifact, options, providers=named)
    if CUDA not in session.get_providers():
        raise UnusableGpuError(
            "there is a GPU, and ONNX Runtime cannot use it: see its message in this replica's "
            "log. Install its libraries, pip install 'onnxruntime-gpu[cuda,cudnn]', or serve the "
            "variant without a GPU (num_gpus: 0)"
        )
    return session


def describe_session(session: onnxruntime.InferenceSession) -> str:
    """The providers of a session, and what CUDA leaves to the CPU: each such step is copied to."""
    providers = session.get_providers()
    if CUDA not in providers:
        return ",".join(providers)
    steps = Counter[str]()
    for part in session.get_provider_graph_assignment_info():
        steps[part.ep_name] += len(part.get_nodes())
    return f"{','.join(providers)} ({steps[CPU]} of {steps.total()} steps on the CPU)"


@cache
def _load_cuda() -> None:
    """Load CUDA's libraries from where pip puts them; where they lie elsewhere, ONNX Runtime finds
    them itself or not at all."""
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    onnxruntime.preload_dlls(directory="")


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
