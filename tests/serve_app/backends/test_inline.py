from __future__ import annotations

import numpy as np
import pytest

from compression.store import ModelStore
from serve_app.backends.inline import InlineBackend
from serve_app.config import VariantConfig
from serve_app.errors import VariantFailedError
from serve_app.runners import load_variant
from tests.support.store import MARKER, MODEL, make_samples, scores


def backend(store_uri: str, name: str) -> InlineBackend:
    loaded = load_variant(ModelStore(store_uri), MODEL, name, 1)
    return InlineBackend(loaded, VariantConfig(name=name))


async def test_it_computes(store_uri: str) -> None:
    made = backend(store_uri, "original")
    batch = make_samples().rows(0, 3)
    computed = await made.infer(batch, 3)
    np.testing.assert_allclose(computed.outputs["score"], scores(batch), atol=1e-6)
    assert await made.ready()
    assert (await made.describe())["platform"] == "onnxruntime_onnx"
    await made.close()


async def test_what_the_runtime_raises_stays_in_the_log(
    store_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = backend(store_uri, "fragile")
    batch = make_samples().rows(0, 1)
    batch["transaction"][0, 0] = MARKER
    with pytest.raises(VariantFailedError, match=r"^variant 'fragile' failed$"):
        await made.infer(batch, 1)
    assert "Gather" in caplog.text
    await made.close()
