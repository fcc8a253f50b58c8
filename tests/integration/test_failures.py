from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.server import GATEWAYS, Server, eventually
from tests.support.store import CHAMPION, MARKER, request_body


def test_the_champion_answers_for_a_variant_that_fails(server: Server) -> None:
    server.route({"fragile": 1.0})
    before = server.total("fallbacks_total", variant="fragile", reason="failed")
    good, bad = request_body(customer_id="c"), request_body(customer_id="c")
    bad["inputs"][0]["data"][0] = MARKER
    assert server.infer(good).variant == "fragile"
    answer = server.infer(bad)
    assert answer.status == 200
    assert answer.headers["x-slimserve-variant"] == CHAMPION
    assert answer.parameters["why"] == "fallback"
    assert answer.parameters["failed_variant"] == "fragile"
    assert server.total("fallbacks_total", variant="fragile", reason="failed") == before + 1


def test_one_poisonous_request_among_many_falls_back_alone(server: Server) -> None:
    bodies = [request_body(start=number) for number in range(40)]
    bodies[17]["inputs"][0]["data"][0] = MARKER
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: server.infer(body, "fragile"), bodies))
    variants = [answer.variant for answer in answers]
    assert variants[17] == CHAMPION
    assert Counter(variants) == {"fragile": 39, CHAMPION: 1}


def test_a_burst_on_a_full_queue_is_shed(door: Server) -> None:
    before = door.total("requests_total", variant="slow", outcome="shed")
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: door.infer(request_body(), "slow"), range(64)))
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) == {200, 429}
    shed = next(answer for answer in answers if answer.status == 429)
    assert shed.headers["retry-after"] == "1"
    assert "variant 'slow' has 2 rows waiting, at most 2 may" in shed.json()["error"]
    assert all(answer.variant == "slow" for answer in answers if answer.status == 200)
    after = door.total("requests_total", variant="slow", outcome="shed")
    assert after == before + statuses[429]


def test_a_killed_deployment_is_answered_for_and_comes_back(server: Server) -> None:
    [replica] = server.replicas("program")
    replica.kill()
    answers = [server.infer(request_body(), "program") for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 10
    assert CHAMPION in {answer.variant for answer in answers}
    assert server.total("fallbacks_total", variant="program", reason="unavailable") >= 1
    eventually(lambda: server.infer(request_body(), "program").variant == "program", 60)


def test_a_killed_gateway_comes_back_with_the_last_table(server: Server) -> None:
    version = server.route({CHAMPION: 0.5, "close": 0.5})
    before = {labels["replica"] for labels, _ in server.samples("table_version")}
    server.replicas("Gateway")[0].kill()

    def replaced() -> bool:
        samples = server.samples("table_version")
        now = {labels["replica"] for labels, _ in samples}
        return len(now) == GATEWAYS and now != before and {v for _, v in samples} == {version}

    eventually(replaced, 60)


def test_a_killed_controller_comes_back_with_the_last_table(server: Server) -> None:
    version = server.route({CHAMPION: 0.9, "close": 0.1})
    [controller] = server.replicas("Controller")
    controller.kill()
    assert server.infer(request_body()).status == 200
    eventually(lambda: any(one.pid != controller.pid for one in server.replicas("Controller")), 60)
    body = {"replaces": version, "weights": {CHAMPION: 1.0}}
    eventually(lambda: server.put(body).status in (200, 409), 60)
    assert server.table()["version"] == version + 1


@pytest.mark.parametrize("variant", [CHAMPION, "program"])
def test_variants_say_what_they_run_on(server: Server, variant: str) -> None:
    metadata = server.request("GET", f"/v2/models/fraud/versions/{variant}").json()
    placement = "deployment" if variant == "program" else "inline"
    assert metadata["parameters"]["placement"] == placement
    assert "thread(s)" in metadata["parameters"]["runs_on"]
