from __future__ import annotations

import asyncio

import pytest

from compression.store import StoreUnavailableError
from tests.serve_app.gateway.fakes import TOKEN, FakeBackend, Gateway, catalogue_of
from tests.support.asgi import call
from tests.support.store import CHAMPION, make_manifest, request_body, score_body

VARIANTS = "/admin/v1/models/fraud/variants"
SCORE = "/v1/models/fraud/score"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.route({CHAMPION: 1.0})
    made.control.reply = {"outcome": "changed", "catalogue": {"version": 2}}
    return made


def serve(gateway: Gateway, name: str) -> None:
    """As the lineup does it."""
    gateway.backends[name] = FakeBackend(0.9)
    gateway.metrics.add_variant(name)
    manifests = {**gateway.served.manifests, name: make_manifest(name, b"", [])}
    gateway.thresholds[name] = manifests[name].decision_threshold
    gateway.served.change(catalogue_of(manifests, 2))


def stop_serving(gateway: Gateway, name: str) -> None:
    del gateway.backends[name]
    manifests = {key: value for key, value in gateway.served.manifests.items() if key != name}
    gateway.served.change(catalogue_of(manifests, 3))


async def test_a_variant_that_comes_has_its_paths_at_once(gateway: Gateway) -> None:
    path = "/v2/models/fraud/versions/late"
    assert (await call(gateway.app, "GET", path)).status == 404
    serve(gateway, "late")
    assert (await call(gateway.app, "GET", path)).json()["versions"] == ["late"]
    assert (await call(gateway.app, "GET", f"{path}/ready")).status == 200
    answer = await call(gateway.app, "POST", f"{path}/infer", request_body())
    assert (answer.status, answer.headers["x-slimserve-variant"]) == (200, "late")
    model = (await call(gateway.app, "GET", "/v2/models/fraud")).json()
    assert model["versions"] == [CHAMPION, "close", "poor", "late"]
    assert gateway.value("requests_total", variant="late", outcome="ok") == 1


async def test_everything_that_tells_of_variants_follows(gateway: Gateway) -> None:
    path = "/v2/models/fraud/versions/late"
    serve(gateway, "late")
    config = (await call(gateway.app, "GET", f"{path}/config")).json()
    assert config["parameters"]["variant"] == {"string_value": "late"}
    assert config["version_policy"]["specific"]["versions"][-1] == "late"
    [counted] = (await call(gateway.app, "GET", f"{path}/stats")).json()["model_stats"]
    assert counted["version"] == "late"
    openapi = (await call(gateway.app, "GET", "/openapi.json")).json()
    assert openapi["components"]["schemas"]["ScoreRequest"]["properties"]["variant"]["enum"] == [
        CHAMPION, "close", "poor", "late", None,
    ]  # fmt: skip
    body = {**score_body(), "variant": "late"}
    answer = await call(gateway.app, "POST", SCORE, body, {"x-slimserve-variant": "close"})
    assert (answer.status, answer.headers["x-slimserve-variant"]) == (200, "late")
    stop_serving(gateway, "late")
    for what in ("config", "stats"):
        assert (await call(gateway.app, "GET", f"{path}/{what}")).status == 404
    assert (await call(gateway.app, "POST", SCORE, body)).status in (400, 404)


async def test_a_score_is_decided_by_the_publication_that_made_it(gateway: Gateway) -> None:
    backend = gateway.backends[CHAMPION]
    backend.gate = asyncio.Event()
    request = asyncio.create_task(call(gateway.app, "POST", SCORE, score_body()))
    while not backend.calls:
        await asyncio.sleep(0)
    gateway.thresholds[CHAMPION] = backend.score / 2
    backend.gate.set()
    [row] = (await request).json()["rows"]
    assert not row["decision"]
    [row] = (await call(gateway.app, "POST", SCORE, score_body())).json()["rows"]
    assert row["decision"]


async def test_a_variant_that_goes_answers_what_it_has_and_has_no_path(gateway: Gateway) -> None:
    path = "/v2/models/fraud/versions/close"
    gateway.backends["close"].gate = asyncio.Event()
    backend = gateway.backends["close"]
    request = asyncio.create_task(call(gateway.app, "POST", f"{path}/infer", request_body()))
    while not backend.calls:
        await asyncio.sleep(0)
    stop_serving(gateway, "close")
    assert (await call(gateway.app, "POST", f"{path}/infer", request_body())).status == 404
    assert (await call(gateway.app, "GET", f"{path}/ready")).status == 404
    assert backend.gate is not None
    backend.gate.set()
    answer = await request
    assert (answer.status, answer.json()["model_version"]) == (200, "close")


async def test_a_table_of_before_falls_back_to_the_champion(gateway: Gateway) -> None:
    gateway.route({"close": 1.0})
    stop_serving(gateway, "close")
    answer = await call(gateway.app, "POST", "/v2/models/fraud/infer", request_body())
    assert answer.status == 200
    assert answer.json()["parameters"]["failed_variant"] == "close"


async def test_a_shadow_of_before_is_dropped(gateway: Gateway) -> None:
    gateway.route({CHAMPION: 1.0}, shadow={"variant": "close", "sample_rate": 1.0})
    await call(gateway.app, "POST", "/v2/models/fraud/infer", request_body())
    stop_serving(gateway, "close")
    gateway.shadows.start()
    await gateway.shadows.drained()
    assert gateway.value("shadow_dropped_total", variant="close", reason="unavailable") == 1
    await gateway.shadows.close()


async def test_loading_and_unloading_are_asked_of_the_controller(gateway: Gateway) -> None:
    loaded = await call(
        gateway.app, "POST", f"{VARIANTS}/late", {"max_batch_rows": 8}, BEARER
    )  # fmt: skip
    assert (loaded.status, loaded.json()) == (200, {"name": "late", "version": 2})
    assert (await call(gateway.app, "DELETE", f"{VARIANTS}/late", b"", BEARER)).status == 200
    assert gateway.control.asked == [
        ("load", "late", {"max_batch_rows": 8}), ("unload", "late", {}),
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_only_the_token_may_change_what_is_served(gateway: Gateway, method: str) -> None:
    assert (await call(gateway.app, method, f"{VARIANTS}/close")).status == 401
    assert gateway.control.asked == []


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("not_published", 404), ("variant_in_use", 409), ("needs_redeploy", 409),
        ("unloadable", 422), ("invalid_options", 400),
    ],
)  # fmt: skip
async def test_refusals_have_their_status(gateway: Gateway, reason: str, status: int) -> None:
    gateway.control.reply = {"outcome": "refused", "reason": reason, "message": "because"}
    answer = await call(gateway.app, "POST", f"{VARIANTS}/close", b"", BEARER)
    assert (answer.status, answer.json()) == (status, {"error": "because"})


async def test_an_unconfirmed_change_is_said(gateway: Gateway) -> None:
    gateway.control.reply = {
        "outcome": "unconfirmed", "catalogue": {"version": 2}, "gateways": 2, "confirmed": 1,
        "refused": ["TimeoutError"],
    }  # fmt: skip
    answer = await call(gateway.app, "POST", f"{VARIANTS}/close", b"", BEARER)
    assert answer.status == 503
    assert "1 of 2 gateways confirmed" in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"\xff"'])
async def test_a_body_that_is_no_object_is_refused(gateway: Gateway, body: bytes) -> None:
    answer = await call(gateway.app, "POST", f"{VARIANTS}/close", body, BEARER)
    assert answer.status == 400
    assert "variant 'close': the body" in answer.json()["error"]


async def test_the_list_tells_what_is_served_from_what_is_published(gateway: Gateway) -> None:
    gateway.control.store = {
        CHAMPION: gateway.served.manifests[CHAMPION],
        "close": make_manifest("close", b"other", []),
        "spare": make_manifest("spare", b"", []),
    }
    answer = await call(gateway.app, "GET", VARIANTS)
    states = {one["name"]: one["state"] for one in answer.json()["variants"]}
    assert states == {
        CHAMPION: "served", "close": "changed", "poor": "unpublished", "spare": "published",
    }  # fmt: skip
    spare = (await call(gateway.app, "GET", f"{VARIANTS}/spare")).json()
    assert (spare["gate"], "placement" in spare) == ("passed", False)
    assert (await call(gateway.app, "GET", f"{VARIANTS}/nobody")).status == 404


async def test_a_store_that_is_away_hides_nothing_that_is_served(gateway: Gateway) -> None:
    gateway.control.store = StoreUnavailableError("gone")
    answer = await call(gateway.app, "GET", VARIANTS)
    assert {one["state"] for one in answer.json()["variants"]} == {"served"}
