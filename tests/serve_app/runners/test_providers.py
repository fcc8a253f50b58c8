from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.errors import UnusableGpuError
from serve_app.runners.onnx import OnnxRunner
from serve_app.runners.providers import CPU, CUDA, choose_providers, describe_session, open_session
from tests.support.gpu import HAS_GPU
from tests.support.store import make_onnx


@pytest.mark.parametrize(
    ("visible", "built_in", "expected"),
    [
        (None, [CUDA, CPU], [CUDA, CPU]),
        ("0", [CUDA, CPU], [CUDA, CPU]),
        ("", [CUDA, CPU], [CPU]),
        ("-1", [CUDA, CPU], [CPU]),
        (None, [CPU], [CPU]),
    ],
)
def test_a_gpu_is_used_if_it_is_there_and_visible_and_the_build_can(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    visible: str | None,
    built_in: list[str],
    expected: list[str],
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_providers(built_in, tmp_path) == [CPU]
    (tmp_path / "nvidia0").touch()
    assert choose_providers(built_in, tmp_path) == expected


@pytest.mark.skipif(HAS_GPU, reason="here is a GPU, which ONNX Runtime can use")
@pytest.mark.parametrize("graphs", [True, False])
def test_a_gpu_that_cannot_be_used_is_an_error_and_no_slow_answer(graphs: bool) -> None:
    with pytest.raises(UnusableGpuError, match=r"cannot use it.*onnxruntime-gpu\[cuda,cudnn\]"):
        OnnxRunner(make_onnx(), ["score"], 1, providers=[CUDA, CPU], graphs=graphs)


def test_a_session_on_the_cpu_says_so() -> None:
    assert describe_session(open_session(make_onnx(), [CPU], 1)) == CPU
