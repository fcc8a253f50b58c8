"""The protocol's extensions over the gateway, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from compression.store import Publisher, TensorSpec
from serve_app.catalogue import Catalogue, Entry
from serve_app.config import AppConfig, VariantConfig
from serve_app.errors import QueueFullError, VariantFailedError
from serve_app.gateway.model_config import ModelConfigs
from serve_app.gateway.served import Served
from tests.serve_app.gateway.fakes import TOKEN, VARIANTS, Gateway
from tests.serve_app.protocol.bodies import document, mixed
from tests.support.asgi import Answer, call
from tests.support.store import (
    CHAMPION,
    MODEL,
    make_document,
    make_manifest,
    make_onnx,
    make_samples,
    publish,
    request_body,
)

INFER = f"/v2/models/{MODEL}/infer"
REPOSITORY = "/v2/repository"
BATCH = make_samples().rows(0, 3)


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.route({CHAMPION: 1.0})
    return made


async def get(gateway: Gateway, path: str) -> Any:
    answer = await call(gateway.app, "GET", path)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_bytes_in_and_bytes_out(gateway: Gateway) -> None:
    body, json_bytes = mixed(BATCH, ("history",), parameters={"binary_data_output": True}, id="7")
    head = {"Inference-Header-Content-Length": str(json_bytes)}
    answer = await call(gateway.app, "POST", INFER, body, head)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-slimserve-variant"] == CHAMPION
    result = InferenceServerClient.parse_response_body(
        answer.body, header_length=int(answer.headers["inference-header-content-length"])
    )
    scores = result.as_numpy("score")
    assert scores.tobytes() == np.full(3, 0.4, np.float32).tobytes()
    assert result.get_response()["parameters"]["why"] == "random"
    assert result.get_output("score")["parameters"] == {"binary_data_size": 12}


async def test_bad_lengths_are_counted(gateway: Gateway) -> None:
    body, json_bytes = mixed(BATCH, ("history",))
    for length in (str(json_bytes + 1), "9" * 30, "x"):
        head = {"Inference-Header-Content-Length": length}
        assert (await call(gateway.app, "POST", INFER, body, head)).status == 400
    assert gateway.value("rejections_total", reason="malformed") == 3
    assert gateway.backends[CHAMPION].calls == 0


async def stats(gateway: Gateway, variant: str) -> dict[str, Any]:
    found = await get(gateway, f"/v2/models/{MODEL}/versions/{variant}/stats")
    [one] = found["model_stats"]
    assert (one["name"], one["version"]) == (MODEL, variant)
    entry: dict[str, Any] = one
    return entry


async def test_statistics_are_what_was_done(gateway: Gateway) -> None:
    executed = gateway.metrics.batches(CHAMPION)
    for rows, seconds in ((2, 0.002), (2, 0.004), (5, 0.001)):
        executed.batch(rows, seconds)
    for _ in range(3):
        await call(gateway.app, "POST", INFER, request_body())
    one = await stats(gateway, CHAMPION)
    assert (one["inference_count"], one["execution_count"]) == (9, 3)
    assert one["last_inference"] > 1_700_000_000_000
    assert one["batch_stats"] == [
        {"batch_size": 2, "compute_infer": {"count": 2, "ns": 6_000_000}},
        {"batch_size": 5, "compute_infer": {"count": 1, "ns": 1_000_000}},
    ]
    inference = one["inference_stats"]
    # The fake says of each request that it waited 1 ms and took 2; it is taken up in some µs.
    assert inference["queue"]["count"] == 3
    assert 3_000_000 <= inference["queue"]["ns"] < 1_000_000_000
    assert inference["compute_infer"] == {"count": 3, "ns": 6_000_000}
    assert inference["fail"] == {"count": 0, "ns": 0}
    for part in ("success", "compute_input", "compute_output"):
        assert inference[part]["count"] == 3
        assert inference[part]["ns"] > 0


async def test_statistics_of_what_failed(gateway: Gateway) -> None:
    gateway.route({"close": 1.0})
    gateway.backends["close"].error = VariantFailedError("no")
    await call(gateway.app, "POST", INFER, request_body())
    gateway.backends["close"].error = QueueFullError("full")
    await call(gateway.app, "POST", INFER, request_body())
    await call(gateway.app, "POST", INFER, b"{")
    close, champion = await stats(gateway, "close"), await stats(gateway, CHAMPION)
    assert close["inference_stats"]["fail"]["count"] == 2
    assert close["inference_stats"]["success"]["count"] == 0
    assert champion["inference_stats"]["success"]["count"] == 1
    assert champion["inference_stats"]["fail"]["count"] == 0


async def test_statistics_of_all(gateway: Gateway) -> None:
    for path in ("/v2/models/stats", f"/v2/models/{MODEL}/stats"):
        found = (await get(gateway, path))["model_stats"]
        assert [one["version"] for one in found] == list(VARIANTS)


async def test_configuration_as_triton_has_it(gateway: Gateway) -> None:
    config = await get(gateway, f"/v2/models/{MODEL}/config")
    assert (config["name"], config["backend"]) == (MODEL, "onnxruntime")
    assert config["max_batch_size"] == 8
    assert config["input"] == [
        {"name": "transaction", "data_type": "TYPE_FP32", "dims": [4]},
        {"name": "history", "data_type": "TYPE_FP32", "dims": [3, 2]},
    ]
    assert config["output"] == [
        {"name": "score", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    ]
    assert config["version_policy"]["specific"]["versions"] == list(VARIANTS)
    variant = await get(gateway, f"/v2/models/{MODEL}/versions/close/config")
    assert variant["parameters"]["variant"] == {"string_value": "close"}


def test_configuration_says_where_a_variant_runs() -> None:
    deployed = VariantConfig(
        name="big", placement="deployment", num_replicas=3, num_gpus=1, max_batch_rows=16,
        max_queued_rows=99,
    )  # fmt: skip
    config = AppConfig(store="nowhere", model=MODEL, variants=(deployed,))
    text = TensorSpec(name="text", datatype="BYTES", shape=(1, 7))
    served = Served(document(text))
    entry = Entry(config=deployed, manifest=make_manifest("big", b"", []))
    configs = ModelConfigs(config, served)
    served.change(Catalogue(entries=(entry,)))
    described = configs.describe("big")
    assert described["instance_group"] == [{"name": "big", "kind": "KIND_GPU", "count": 3}]
    assert described["dynamic_batching"]["preferred_batch_size"] == [16]
    assert described["dynamic_batching"]["default_queue_policy"] == {"max_queue_size": 99}
    # The input takes no batches: so nothing is said of them, and shapes are whole.
    assert described["max_batch_size"] == 0
    assert described["input"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": [1, 7]}]


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Gateway, Publisher]:
    """A gateway whose store really has what it serves."""
    publisher = Publisher(str(tmp_path))
    publisher.publish_model(make_document(), make_samples())
    gateway = Gateway(store=str(tmp_path))
    for manifest in gateway.manifests.values():
        publisher.publish_variant(manifest, {manifest.runtime.artifact: b""})
    return gateway, publisher


async def post(gateway: Gateway, path: str, body: Any = b"", **headers: str) -> Answer:
    return await call(gateway.app, "POST", f"{REPOSITORY}/{path}", body, headers)


async def test_the_index_has_what_is_served_and_what_is_published(
    stored: tuple[Gateway, Publisher],
) -> None:
    gateway, publisher = stored
    gateway.backends["poor"].is_ready = False
    publish(publisher, "later", make_onnx())
    entries = (await post(gateway, "index")).json()
    assert [(one["name"], one["version"], one["state"]) for one in entries] == [
        (MODEL, CHAMPION, "READY"),
        (MODEL, "close", "READY"),
        (MODEL, "poor", "UNAVAILABLE"),
        (MODEL, "later", "UNAVAILABLE"),
    ]
    assert entries[-1]["reason"] == "published, but not served here"
    ready = (await post(gateway, "index", {"ready": True})).json()
    assert [one["version"] for one in ready] == [CHAMPION, "close"]
    assert (await post(gateway, "index", b"[")).status == 400
    assert (await post(gateway, "index", {"ready": "yes"})).status == 400


async def test_load_loads_what_is_not_served_as_it_is_published(
    stored: tuple[Gateway, Publisher],
) -> None:
    gateway, publisher = stored
    answer = await post(gateway, f"models/{MODEL}/load")
    assert (answer.status, answer.body) == (200, b"")
    override = await post(gateway, f"models/{MODEL}/load", {"parameters": {"config": "{}"}})
    assert override.status == 501
    assert "expected none of config" in override.json()["error"]
    gateway.backends["close"].is_ready = False
    assert (await post(gateway, f"models/{MODEL}/load")).status == 503
    gateway.backends["close"].is_ready = True
    publish(publisher, "later", make_onnx())
    assert (await post(gateway, f"models/{MODEL}/load")).status == 401
    assert gateway.control.asked == []
    gateway.control.reply = {"outcome": "changed", "catalogue": {"version": 2}}
    answer = await post(gateway, f"models/{MODEL}/load", Authorization=f"Bearer {TOKEN}")
    assert (answer.status, answer.body) == (200, b"")
    assert gateway.control.asked == [("load", "later", {})]
    gateway.control.reply = {"outcome": "refused", "reason": "needs_redeploy", "message": "torch"}
    answer = await post(gateway, f"models/{MODEL}/load", Authorization=f"Bearer {TOKEN}")
    assert (answer.status, answer.json()) == (409, {"error": "torch"})


async def test_unload_is_refused_with_what_to_do(gateway: Gateway) -> None:
    answer = await post(gateway, f"models/{MODEL}/unload", {"parameters": {}})
    assert answer.status == 501
    assert "routing table" in answer.json()["error"]
    assert (await call(gateway.app, "POST", INFER, request_body())).status == 200


async def test_other_models_are_unknown_and_a_lost_store_is_said(gateway: Gateway) -> None:
    assert (await post(gateway, "models/other/load")).status == 404
    answer = await post(gateway, "index")
    assert answer.status == 503
    assert "the model store cannot be read" in answer.json()["error"]
