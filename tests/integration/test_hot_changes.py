from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from compression.store import Publisher
from tests.integration.load import constant_load
from tests.integration.server import GATEWAYS, LOADED, Server, eventually
from tests.support.store import (
    CHAMPION,
    MODEL,
    make_manifest,
    make_onnx,
    make_samples,
    publish,
    request_body,
    scores,
)

ADDED = "added"
ASKED = 4 * GATEWAYS
"""So many requests on connections of their own reach every gateway, at the data port nearly so."""


@pytest.fixture
def store(server: Server) -> Iterator[Publisher]:
    """The running application's store; what a test adds is not served and not there after it."""
    server.route()
    yield Publisher(str(server.store))
    server.route()
    server.unload(ADDED)
    shutil.rmtree(server.store / MODEL / "variants" / ADDED, ignore_errors=True)


def put_into(store: Publisher, shift: float) -> None:
    """Publish, or publish anew."""
    artifact = make_onnx(shift=shift)
    probes = scores(make_samples().rows(0, 32), shift=shift)
    store.publish_variant(
        make_manifest(ADDED, artifact, probes.tolist()), {"model.onnx": artifact}, replace=True
    )


def expected(shift: float) -> float:
    return float(scores(make_samples().rows(0, 1), shift=shift)[0])


def answered(server: Server) -> set[float]:
    """Scores that the gateways give under the name."""
    answers = [server.infer(request_body(), ADDED) for _ in range(ASKED)]
    assert [answer.status for answer in answers] == [200] * ASKED
    return {round(answer.json()["outputs"][0]["data"][0], 4) for answer in answers}


def in_memory(server: Server) -> list[float]:
    """Inline variants in memory, by gateway."""
    return [value for _, value in server.samples("loaded_variants")]


def test_no_request_fails_while_variants_come_change_and_go(door: Server, store: Publisher) -> None:
    served, held = door.versions(), in_memory(door)
    assert len(held) == GATEWAYS
    with constant_load(door) as load:
        put_into(store, 0.5)
        assert ADDED not in door.versions()
        assert door.load(ADDED).status == 200
        assert all(door.versions() == [*served, ADDED] for _ in range(ASKED))
        assert answered(door) == {round(expected(0.5), 4)}

        version = door.route({CHAMPION: 0.5, ADDED: 0.5})
        eventually(lambda: load.of(ADDED) > 50)
        refused = door.unload(ADDED)
        assert refused.status == 409
        assert f"weight 0.5 in routing table {version}" in refused.json()["error"]

        put_into(store, -0.5)
        assert door.load(ADDED).status == 200
        assert answered(door) == {round(expected(-0.5), 4)}
        eventually(lambda: in_memory(door) == [count + 1 for count in held])

        door.route()
        assert door.unload(ADDED).status == 200
        assert all(door.versions() == served for _ in range(ASKED))
        assert door.infer(request_body(), ADDED).status == 404
        eventually(lambda: in_memory(door) == held)
    assert set(load.statuses) == {200}, load.failures
    assert load.statuses[200] > 200


def test_whoever_starts_later_has_what_is_served(server: Server, store: Publisher) -> None:
    put_into(store, 0.5)
    version = server.load(ADDED).json()["version"]
    before = {labels["replica"] for labels, _ in server.samples("catalogue_version")}
    for process in (server.replicas("Gateway")[0], *server.replicas("Controller")):
        process.kill()

    def replaced() -> bool:
        samples = server.samples("catalogue_version")
        now = {labels["replica"] for labels, _ in samples}
        return len(now) == GATEWAYS and now != before and {v for _, v in samples} == {version}

    eventually(replaced, 60)
    assert answered(server) == {round(expected(0.5), 4)}
    eventually(lambda: server.unload(ADDED).status == 200, 60)


def test_a_variant_that_computes_something_else_is_not_served(
    server: Server, store: Publisher
) -> None:
    before, held = server.versions(), in_memory(server)
    publish(store, ADDED, make_onnx(), probe_offset=0.1)
    answer = server.load(ADDED)
    assert answer.status == 422
    assert "0 of 2 gateways could load it" in answer.json()["error"]
    assert "'added' scores sample row" in answer.json()["error"]
    assert server.versions() == before
    assert in_memory(server) == held


def test_how_it_is_served_can_be_said(server: Server, store: Publisher) -> None:
    publish(store, ADDED, make_onnx(shift=0.5), shift=0.5, verdict="failed")
    assert server.load(ADDED, max_batch_row=1).status == 400
    table = {"replaces": server.table()["version"], "weights": {CHAMPION: 0.9, ADDED: 0.1}}
    assert server.load(ADDED).status == 200
    assert "failed the quality gate" in server.put(table).json()["error"]
    assert server.load(ADDED, allow_failed_gate=True).status == 200
    assert server.put(table).status == 200
    answer = server.load(ADDED, allow_failed_gate=False)
    assert answer.status == 409
    assert "failed the quality gate" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "name", "status", "message"),
    [
        ("POST", "nobody", 404, "'nobody' is not published, expected one of close"),
        ("DELETE", "nobody", 404, "'nobody' is not served"),
        ("DELETE", CHAMPION, 409, "champion"),
        ("DELETE", "program", 409, "take it out of `variants` in the configuration"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    server: Server, method: str, name: str, status: int, message: str
) -> None:
    before = server.versions()
    answer = server.admin(method, f"{LOADED}/{name}")
    assert answer.status == status
    assert message in answer.json()["error"]
    assert server.versions() == before


def test_the_list_has_what_is_published_too(server: Server, store: Publisher) -> None:
    def state() -> str:
        return str(server.request("GET", f"{LOADED}/{ADDED}").json()["state"])

    put_into(store, 0.5)
    assert state() == "published"
    server.load(ADDED)
    assert state() == "served"
    put_into(store, -0.5)
    assert state() == "changed"
    listed = server.request("GET", LOADED).json()["variants"]
    assert {one["name"] for one in listed} == {*server.versions()}
    assert server.admin("DELETE", f"{LOADED}/{ADDED}", token="wrong").status == 401
