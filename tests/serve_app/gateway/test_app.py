from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from serve_app.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    QueueFullError,
    ServingError,
    VariantFailedError,
)
from serve_app.gateway.discovery import Ports
from tests.serve_app.gateway.fakes import TOKEN, Gateway
from tests.support.asgi import Answer, call
from tests.support.store import CHAMPION, request_body

INFER = "/v2/models/fraud/infer"
ROUTING = "/admin/v1/models/fraud/routing"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.route({CHAMPION: 1.0})
    return made


async def infer(
    gateway: Gateway,
    body: bytes | Sequence[bytes] | Mapping[str, Any] | None = None,
    path: str = INFER,
    **headers: str,
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(gateway.app, "POST", path, request_body() if body is None else body, named)


async def test_an_answer_says_who_made_it_and_why(gateway: Gateway) -> None:
    answer = await infer(gateway, {**request_body(customer_id="c1"), "id": "r1"})
    assert answer.status == 200
    assert answer.headers["x-slimserve-variant"] == CHAMPION
    assert answer.headers["x-slimserve-table-version"] == "1"
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("fraud", CHAMPION, "r1")
    assert body["parameters"] == {
        "variant": CHAMPION, "experiment": "default", "table_version": 1, "why": "weight",
    }  # fmt: skip
    assert gateway.value("requests_total", variant=CHAMPION, outcome="ok") == 1
    assert gateway.value("assignments_total", variant=CHAMPION, why="weight") == 1
    assert gateway.value("rows_total", variant=CHAMPION) == 1
    assert gateway.value("in_flight") == 0
    for phase in ("decode", "queue", "infer", "encode"):
        assert gateway.value("phase_seconds_count", variant=CHAMPION, phase=phase) == 1


async def test_pins_by_path_and_header(gateway: Gateway) -> None:
    by_path = await infer(gateway, path="/v2/models/fraud/versions/poor/infer")
    by_header = await infer(gateway, x_slimserve_variant="close")
    for answer, variant in ((by_path, "poor"), (by_header, "close")):
        assert answer.json()["model_version"] == variant
        assert answer.json()["parameters"]["why"] == "pin"
    unknown = await infer(gateway, x_slimserve_variant="nobody")
    assert unknown.status == 404
    assert (
        "'nobody' is not served, expected one of original, close, poor" in unknown.json()["error"]
    )


async def test_the_key_comes_from_the_body_or_the_header(gateway: Gateway) -> None:
    gateway.route({CHAMPION: 0.5, "close": 0.5})
    by_key = {
        key: (await infer(gateway, request_body(customer_id=key))).json()["model_version"]
        for key in ("c1", "c2", "c3", "c4", "c5", "c6")
    }
    assert set(by_key.values()) == {CHAMPION, "close"}
    for key, variant in by_key.items():
        answer = await infer(gateway, x_slimserve_routing_key=key)
        assert answer.json()["model_version"] == variant
    assert (await infer(gateway)).json()["parameters"]["why"] == "random"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(VariantFailedError("no"), "failed"), (BackendUnavailableError("no"), "unavailable")],
)
async def test_the_champion_answers_for_one_that_fails(
    gateway: Gateway, error: Exception, reason: str
) -> None:
    gateway.route({"close": 1.0})
    gateway.backends["close"].error = error
    answer = await infer(gateway)
    assert answer.status == 200
    assert answer.headers["x-slimserve-variant"] == CHAMPION
    assert answer.json()["parameters"]["why"] == "fallback"
    assert answer.json()["parameters"]["failed_variant"] == "close"
    assert gateway.value("fallbacks_total", variant="close", reason=reason) == 1
    assert gateway.value("requests_total", variant=CHAMPION, outcome="fallback") == 1


async def test_a_score_that_is_not_finite_is_a_failure(gateway: Gateway) -> None:
    gateway.route({"close": 1.0})
    gateway.backends["close"].score = float("nan")
    answer = await infer(gateway)
    assert answer.json()["parameters"]["failed_variant"] == "close"
    assert gateway.value("fallbacks_total", variant="close", reason="not_finite") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(VariantFailedError("broken"), 500), (BackendUnavailableError("off"), 503)],
)
async def test_a_failing_champion_is_said(
    gateway: Gateway, error: ServingError, status: int
) -> None:
    gateway.backends[CHAMPION].error = error
    answer = await infer(gateway)
    assert (answer.status, answer.json()) == (status, {"error": str(error)})
    assert gateway.backends[CHAMPION].calls == 1
    assert gateway.value("requests_total", variant=CHAMPION, outcome="error") == 1
    assert gateway.value("rejections_total", reason=error.reason) == 1


async def test_a_full_queue_is_shed_and_not_passed_on(gateway: Gateway) -> None:
    gateway.route({"close": 1.0})
    gateway.backends["close"].error = QueueFullError("full", 7)
    answer = await infer(gateway)
    assert (answer.status, answer.json()) == (429, {"error": "full"})
    assert answer.headers["retry-after"] == "7"
    assert gateway.backends[CHAMPION].calls == 0
    assert gateway.value("requests_total", variant="close", outcome="shed") == 1
    assert gateway.value("rejections_total", reason="queue_full") == 1


async def test_a_deadline_that_passed_is_counted_and_not_passed_on(gateway: Gateway) -> None:
    gateway.route({"close": 1.0})
    gateway.backends["close"].error = DeadlineExceededError("late")
    answer = await infer(gateway)
    assert (answer.status, answer.json()) == (504, {"error": "late"})
    assert gateway.backends[CHAMPION].calls == 0
    assert gateway.value("requests_total", variant="close", outcome="deadline") == 1
    assert gateway.value("rejections_total", reason="deadline") == 1


async def test_the_terms_reach_the_backend(gateway: Gateway) -> None:
    before = time.perf_counter()
    headers = {"x_slimserve_caller": "billing", "x_request_timeout_seconds": "30"}
    await infer(gateway, request_body(timeout_seconds=20), INFER, **headers)
    caller, deadline = gateway.backends[CHAMPION].terms
    assert caller == "billing"
    assert before + 20 <= deadline <= time.perf_counter() + 20
    await infer(gateway, None, INFER, **headers)
    assert before + 20 < gateway.backends[CHAMPION].terms.deadline < time.perf_counter() + 30


@pytest.mark.parametrize(
    ("parameters", "headers", "message"),
    [
        ({"timeout_seconds": 0}, {}, "timeout_seconds: expected seconds above 0, given 0"),
        ({"timeout_seconds": "soon"}, {}, "timeout_seconds: expected seconds above 0, given 'soon"),
        (
            {},
            {"x_request_timeout_seconds": "-1"},
            "x-request-timeout-seconds: expected seconds above 0, given '-1'",
        ),
    ],
)
async def test_a_time_limit_that_is_none_is_refused(
    gateway: Gateway, parameters: dict[str, Any], headers: dict[str, str], message: str
) -> None:
    answer = await infer(gateway, request_body(**parameters), INFER, **headers)
    assert answer.status == 400
    assert message in answer.json()["error"]
    assert gateway.value("rejections_total", reason="invalid_timeout") == 1
    assert gateway.value("requests_total", variant="none", outcome="invalid") == 1


async def test_the_unexpected_is_logged_with_the_request_id_and_not_shown(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.backends[CHAMPION].error = RuntimeError("a secret path")
    with caplog.at_level(logging.ERROR, "serve_app"):
        answer = await infer(gateway, x_request_id="id-7")
    assert (answer.status, answer.json()) == (500, {"error": "internal error, request id id-7"})
    assert "request id-7 failed" in caplog.text
    assert "a secret path" in caplog.text


async def test_without_a_table_it_is_not_ready() -> None:
    gateway = Gateway()
    assert (await infer(gateway)).status == 503
    assert (await call(gateway.app, "GET", "/v2/health/ready")).status == 503
    assert (await call(gateway.app, "GET", "/v2/health/live")).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"", {}, 400, "malformed"),
        (b"{", {}, 400, "malformed"),
        ({"inputs": []}, {}, 400, "invalid_input"),
        (request_body(9), {}, 400, "too_many_rows"),
        (b"x" * 4097, {}, 413, "body_too_large"),
        ([b"x" * 3000, b"x" * 3000, b"x" * 3000], {}, 413, "body_too_large"),
        (b"", {"content_length": "4097"}, 413, "body_too_large"),
        (b"", {"inference_header_content_length": "10"}, 400, "malformed"),
        (b"\x1f\x8b", {"content_encoding": "gzip"}, 415, "encoded_body"),
    ],
)
async def test_bad_requests_are_refused_and_counted(
    gateway: Gateway, body: Any, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = await infer(gateway, body, **headers)
    assert answer.status == status
    assert set(answer.json()) == {"error"}
    assert gateway.value("rejections_total", reason=reason) == 1
    assert gateway.value("requests_total", variant="none", outcome="invalid") == 1
    assert gateway.backends[CHAMPION].calls == 0


async def test_a_body_may_come_in_chunks(gateway: Gateway) -> None:
    import json

    body = json.dumps(request_body()).encode()
    assert (await infer(gateway, [body[:10], body[10:50], body[50:]])).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nowhere", 404, "'/nowhere' is not served"),
        ("GET", "/v2/models/other", 404, "model 'other' is not served, expected 'fraud'"),
        ("GET", "/v2/models/fraud/versions/x", 404, "version 'x' of 'fraud' is not served"),
        ("POST", "/v2/models/fraud/versions/x/infer", 404, "expected one of original, close"),
        ("GET", "/v2/models/fraud/weather", 404, "is not served, see GET /"),
        ("POST", "/v2/repository/models/other/load", 404, "model 'other' is not served"),
        ("GET", "/v2/repository/index", 405, "expected POST, given GET"),
        ("GET", "/admin/v1/models/other/routing", 404, "model 'other'"),
        ("GET", INFER, 405, "expected POST, given GET"),
        ("DELETE", ROUTING, 405, "expected GET, PUT, given DELETE"),
        ("POST", "/metrics", 405, "expected GET, given POST"),
    ],
)
async def test_unknown_paths_and_methods(
    gateway: Gateway, method: str, path: str, status: int, message: str
) -> None:
    answer = await call(gateway.app, method, path)
    assert answer.status == status
    assert message in answer.json()["error"]
    assert ("allow" in answer.headers) == (status == 405)


async def test_health_metadata_and_index(gateway: Gateway) -> None:
    async def get(path: str) -> Any:
        answer = await call(gateway.app, "GET", path)
        assert answer.status == 200
        return answer.json()

    assert (await get("/v2"))["extensions"] == [
        "binary_tensor_data", "model_configuration", "model_repository", "statistics",
    ]  # fmt: skip
    assert await get("/v2/health/ready") == {"ready": True}
    model = await get("/v2/models/fraud")
    assert model["versions"] == ["original", "close", "poor"]
    assert model["inputs"][1] == {"name": "history", "datatype": "FP32", "shape": [-1, 3, 2]}
    variant = await get("/v2/models/fraud/versions/poor")
    assert variant["versions"] == ["poor"]
    assert variant["parameters"]["gate"] == "failed"
    assert (await get("/"))["infer"] == INFER
    assert (await get("/v2/models/fraud/versions/close/ready"))["ready"] is True
    gateway.backends["close"].is_ready = False
    assert (await call(gateway.app, "GET", "/v2/models/fraud/versions/close/ready")).status == 503
    gateway.backends[CHAMPION].is_ready = False
    assert (await call(gateway.app, "GET", "/v2/health/ready")).status == 503


async def test_the_table_is_read_and_replaced(gateway: Gateway) -> None:
    table = (await call(gateway.app, "GET", ROUTING)).json()
    assert (table["version"], table["weights"]) == (1, {CHAMPION: 1.0})
    body = {"replaces": 1, "weights": {CHAMPION: 0.5, "close": 0.5}}
    answer = await call(gateway.app, "PUT", ROUTING, body, BEARER)
    assert (answer.status, answer.json()) == (200, {"version": 2})
    [(draft, replaces)] = gateway.control.changes
    assert (draft["weights"], replaces) == (body["weights"], 1)


async def test_a_stale_change_is_told_the_version(gateway: Gateway) -> None:
    gateway.control.reply = {"outcome": "stale", "version": 7}
    body = {"replaces": 1, "weights": {CHAMPION: 1.0}}
    answer = await call(gateway.app, "PUT", ROUTING, body, BEARER)
    assert answer.status == 409
    assert answer.json()["version"] == 7


async def test_an_unconfirmed_change_is_said(gateway: Gateway) -> None:
    gateway.control.reply = {
        "outcome": "unconfirmed", "table": {"version": 2}, "gateways": 2, "confirmed": 1,
        "refused": ["TimeoutError"],
    }  # fmt: skip
    body = {"replaces": 1, "weights": {CHAMPION: 1.0}}
    answer = await call(gateway.app, "PUT", ROUTING, body, BEARER)
    assert answer.status == 503
    assert "1 of 2 gateways confirmed" in answer.json()["error"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"nobody": 1.0}, "not served"),
        ({"poor": 1.0}, "quality gate"),
        ({CHAMPION: 2.0}, "weights"),
    ],
)
async def test_bad_tables_are_refused(
    gateway: Gateway, weights: dict[str, float], message: str
) -> None:
    body = {"replaces": 1, "weights": weights}
    answer = await call(gateway.app, "PUT", ROUTING, body, BEARER)
    assert answer.status == 400
    assert message in answer.json()["error"]
    assert not gateway.control.changes


@pytest.mark.parametrize(
    ("token", "headers", "status"),
    [
        (None, BEARER, 403),
        ("", BEARER, 403),
        (TOKEN, {}, 401),
        (TOKEN, {"Authorization": "Bearer wrong"}, 401),
        (TOKEN, {"Authorization": TOKEN}, 401),
    ],
)
async def test_only_the_token_may_change_the_table(
    token: str | None, headers: dict[str, str], status: int
) -> None:
    gateway = Gateway(token)
    gateway.route({CHAMPION: 1.0})
    body = {"replaces": 1, "weights": {CHAMPION: 1.0}}
    answer = await call(gateway.app, "PUT", ROUTING, body, headers)
    assert answer.status == status
    if status == 403:
        assert "SLIMSERVE_ADMIN_TOKEN" in answer.json()["error"]
    assert not gateway.control.changes


async def test_metrics_are_text(gateway: Gateway) -> None:
    await infer(gateway)
    answer = await call(gateway.app, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'slimserve_table_version{model="fraud",replica="gateway-1"} 1.0' in answer.body


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        (Ports(), {}),
        (Ports(grpc=9000), {"grpc": "grpc://models:9000"}),
        (Ports(data=8080), {"direct": "http://models:8080"}),
        (Ports(9000, 8080), {"grpc": "grpc://models:9000", "direct": "http://models:8080"}),
    ],
)
async def test_the_index_says_where_it_is_reached_besides(
    ports: Ports, told: dict[str, str]
) -> None:
    answer = await call(Gateway(ports=ports).app, "GET", "/", headers={"Host": "models:80"})
    index = answer.json()
    assert {key: index[key] for key in ("grpc", "direct") if key in index} == told
