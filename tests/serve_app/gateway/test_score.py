from __future__ import annotations

from typing import Any

import pytest

from serve_app.errors import QueueFullError, VariantFailedError
from tests.serve_app.gateway.fakes import Gateway
from tests.support.asgi import Answer, call
from tests.support.store import CHAMPION, request_body, score_body

SCORE = "/v1/models/fraud/score"


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.route({CHAMPION: 1.0})
    return made


async def score(gateway: Gateway, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(gateway.app, "POST", SCORE, score_body() if body is None else body, named)


async def test_every_row_says_score_decision_who_and_why(gateway: Gateway) -> None:
    gateway.route({"poor": 1.0}, version=7)
    answer = await score(gateway, score_body(2, customer_id="c1"))
    assert answer.status == 200
    assert answer.headers["x-slimserve-variant"] == "poor"
    assert answer.headers["x-slimserve-table-version"] == "7"
    body = answer.json()
    assert (body["model"], body["experiment"]) == ("fraud", "default")
    row = {"decision": True, "variant": "poor", "why": "weight", "table_version": 7}
    assert [one | {"score": None} for one in body["rows"]] == [{**row, "score": None}] * 2
    assert body["rows"][0]["score"] == pytest.approx(0.8)


async def test_it_is_counted_like_any_request(gateway: Gateway) -> None:
    await score(gateway, score_body(2))
    assert gateway.value("requests_total", variant=CHAMPION, outcome="ok") == 1
    assert gateway.value("rows_total", variant=CHAMPION) == 2
    assert gateway.value("assignments_total", variant=CHAMPION, why="random") == 1
    assert gateway.value("in_flight") == 0
    for phase in ("decode", "queue", "infer", "encode"):
        assert gateway.value("phase_seconds_count", variant=CHAMPION, phase=phase) == 1
    stats = await call(gateway.app, "GET", f"/v2/models/fraud/versions/{CHAMPION}/stats")
    (entry,) = stats.json()["model_stats"]
    assert entry["inference_stats"]["success"]["count"] == 1
    await score(gateway, {"rows": [{}]})
    assert gateway.value("requests_total", variant="none", outcome="invalid") == 1
    assert gateway.value("rejections_total", reason="invalid_input") == 1


async def test_the_decision_is_made_at_the_answering_variants_threshold(gateway: Gateway) -> None:
    below, at = 0.4, 0.6
    for threshold, decision in ((below, True), (at, False)):
        made = Gateway(threshold=threshold)
        made.route({CHAMPION: 1.0})
        made.backends[CHAMPION].score = 0.5
        assert (await score(made)).json()["rows"][0]["decision"] is decision


async def test_the_same_customer_gets_the_same_variant_by_either_door(gateway: Gateway) -> None:
    gateway.route({CHAMPION: 0.5, "close": 0.5})
    answered = set()
    for key in ("c1", "c2", "c3", "c4", "c5", "c6"):
        infer = await call(
            gateway.app, "POST", "/v2/models/fraud/infer", request_body(customer_id=key)
        )
        by_body = await score(gateway, score_body(customer_id=key))
        by_header = await score(gateway, x_slimserve_routing_key=key)
        both = await score(gateway, score_body(customer_id=key), x_slimserve_routing_key="c1")
        variants = {one.headers["x-slimserve-variant"] for one in (infer, by_body, by_header, both)}
        assert len(variants) == 1
        answered |= variants
    assert answered == {CHAMPION, "close"}


async def test_pins_by_field_and_header(gateway: Gateway) -> None:
    by_field = await score(gateway, score_body(variant="poor"))
    by_header = await score(gateway, x_slimserve_variant="close")
    both = await score(gateway, score_body(variant="poor"), x_slimserve_variant="close")
    for answer, variant in ((by_field, "poor"), (by_header, "close"), (both, "poor")):
        row = answer.json()["rows"][0]
        assert (row["variant"], row["why"]) == (variant, "pin")


@pytest.mark.parametrize(
    ("field", "header"), [("nobody", None), ("", None), (None, "nobody"), ("close", "nobody")]
)
async def test_a_pin_that_names_nobody_is_refused(
    gateway: Gateway, field: str | None, header: str | None
) -> None:
    headers = {} if header is None else {"x_slimserve_variant": header}
    answer = await score(gateway, score_body(variant=field), **headers)
    assert answer.status == 404
    assert "is not served, expected one of original, close, poor" in answer.json()["error"]


async def test_the_champion_answers_for_one_that_fails(gateway: Gateway) -> None:
    gateway.route({"close": 1.0})
    gateway.backends["close"].error = VariantFailedError("no")
    row = (await score(gateway)).json()["rows"][0]
    assert (row["variant"], row["why"], row["failed_variant"]) == (CHAMPION, "fallback", "close")


async def test_a_full_queue_is_shed(gateway: Gateway) -> None:
    gateway.backends[CHAMPION].error = QueueFullError("full")
    answer = await score(gateway)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert gateway.value("requests_total", variant=CHAMPION, outcome="shed") == 1


async def test_shadows_see_it(gateway: Gateway) -> None:
    shadow = {"variant": "close", "sample_rate": 1.0}
    gateway.route({CHAMPION: 1.0}, shadow=shadow)
    gateway.shadows.start()
    await score(gateway, score_body(3))
    await gateway.shadows.drained()
    await gateway.shadows.close()
    assert gateway.value("shadow_rows_total", variant="close") == 3


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty"),
        (b"{", 400, "not JSON"),
        (score_body(9), 400, "9 rows given, at most 8 are expected"),
        (request_body(), 400, "field 'inputs' is unknown, expected rows, variant, customer_id"),
        (b" " * 4097, 413, "body: expected at most 4096 bytes, given"),
    ],
)
async def test_bad_requests(gateway: Gateway, body: Any, status: int, message: str) -> None:
    answer = await score(gateway, body)
    assert answer.status == status
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/models/other/score", 404), ("GET", SCORE, 405), ("POST", "/v1/models", 404)],
)
async def test_other_paths_and_methods(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = await call(gateway.app, method, path, b"")
    assert answer.status == status


async def test_a_compressed_body_is_told_from_a_broken_one(gateway: Gateway) -> None:
    answer = await score(gateway, b"\x1f\x8b", content_encoding="gzip")
    assert answer.status == 415
