from __future__ import annotations

import pytest

from compression.store import CorruptArtifactError
from serve_app.runners.onnx import OnnxRunner, choose_providers
from tests.support.store import make_onnx

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def test_an_output_the_graph_lacks_is_named() -> None:
    with pytest.raises(CorruptArtifactError, match=r"outputs \['score'\], not \['other'\]"):
        OnnxRunner(make_onnx(), ["other"], 1)


def test_a_hidden_gpu_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_providers([CUDA, CPU]) == [CPU]


def test_a_build_without_cuda_uses_the_cpu() -> None:
    assert choose_providers([CPU]) == [CPU]
