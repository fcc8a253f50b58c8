"""Whether the machine of the tests has a GPU that ONNX Runtime can compute on."""

from __future__ import annotations

import onnxruntime
import pytest

from serve_app.runners.providers import CUDA, choose_providers

HAS_GPU = CUDA in choose_providers(onnxruntime.get_available_providers())

needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="this machine has no GPU")
