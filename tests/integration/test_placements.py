"""One artifact in both placements: the same answers, the same figures, the same limits."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.load import kept_busy
from tests.integration.server import HEAVY_LIMITS, Server, eventually
from tests.support.store import CHAMPION, MARKER, MODEL, make_samples, request_body, scores

LARGE_ROWS = 128
BUSY = 4
"""Large requests under way that leave no batcher of a variant idle."""
UNDER_WAY_SECONDS = 0.1
"""A request has come to a gateway, and waits behind larger ones."""
PLACEMENTS = {"heavy": "inline", "heavy-apart": "deployment"}
COUNTED = {
    "requests_total": "outcome", "assignments_total": "why", "fallbacks_total": "reason",
    "phase_seconds_count": "phase", "rows_total": "variant", "batch_rows_sum": "variant",
    "rejections_total": "reason",
}  # fmt: skip
"""Counters that are compared, with the label that tells their samples apart."""
PHASES = ("decode", "queue", "infer", "encode")


@pytest.fixture(params=PLACEMENTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Counts:
    """What one variant's counters gained since this was made."""

    def __init__(self, server: Server, variant: str) -> None:
        self._server, self._variant = server, variant
        self._before = self._read()

    def gained(self) -> dict[str, float]:
        """Counters that changed, with by how much."""
        now = self._read()
        return {key: now[key] - self._before[key] for key in now if now[key] != self._before[key]}

    def _read(self) -> Counter[str]:
        text = self._server.request("GET", "/metrics").body.decode()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix("slimserve_")
                label = COUNTED.get(name)
                if label and sample.labels.get("variant", self._variant) == self._variant:
                    found[f"{name} {sample.labels[label]}"] += int(sample.value)
        return found


def busy(server: Server, variant: str, requests: int = BUSY) -> AbstractContextManager[list[int]]:
    """Large requests at work: on both gateways or, of a deployment, on its replica."""
    large = request_body(LARGE_ROWS)
    return kept_busy(server, [lambda: server.infer(large, variant).status] * requests)


def test_it_is_served_where_it_should_be(server: Server, variant: str) -> None:
    metadata = server.request("GET", f"/v2/models/{MODEL}/versions/{variant}").json()
    assert metadata["parameters"]["placement"] == PLACEMENTS[variant]
    assert "CPUExecutionProvider" in metadata["parameters"]["runs_on"]


@pytest.mark.parametrize("rows", [1, 5, LARGE_ROWS])
def test_answers_and_figures_are_the_same(server: Server, variant: str, rows: int) -> None:
    counts = Counts(server, variant)
    answer = server.infer(request_body(rows), variant)
    [output] = answer.json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("score", "FP32", [rows])
    np.testing.assert_allclose(output["data"], scores(make_samples().rows(0, rows)), atol=1e-6)
    assert {key: answer.parameters[key] for key in ("variant", "why")} == {
        "variant": variant, "why": "pin",
    }  # fmt: skip
    assert counts.gained() == {
        "requests_total ok": 1,
        "assignments_total pin": 1,
        f"rows_total {variant}": rows,
        f"batch_rows_sum {variant}": rows,
        **{f"phase_seconds_count {phase}": 1 for phase in PHASES},
    }


def test_a_poisonous_request_fails_alone(server: Server, variant: str) -> None:
    bodies = [request_body(start=number) for number in range(12)]
    bodies[5]["inputs"][0]["data"][0] = MARKER
    counts = Counts(server, variant)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda body: server.infer(body, variant), bodies))
    assert [answer.status for answer in answers] == [200] * 12
    answered_by = [answer.variant for answer in answers]
    assert answered_by == [variant] * 5 + [CHAMPION] + [variant] * 6
    gained = counts.gained()
    assert gained["requests_total ok"] == 11
    assert gained["fallbacks_total failed"] == 1


def test_a_full_queue_is_shed_with_a_time_to_come_back(server: Server, variant: str) -> None:
    counts, rows = Counts(server, variant), LARGE_ROWS
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server.infer(request_body(rows), variant), range(16)))
    by_status = Counter(answer.status for answer in answers)
    assert set(by_status) == {200, 429}
    for answer in answers:
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            limit = HEAVY_LIMITS["max_queued_rows"]
            assert f"rows waiting, at most {limit} may: try again in" in answer.json()["error"]
    gained = counts.gained()
    assert gained["requests_total shed"] == gained["rejections_total queue_full"] == by_status[429]
    assert gained[f"batch_rows_sum {variant}"] == rows * by_status[200]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("way", ["header", "parameter"])
def test_a_deadline_is_kept_and_nothing_is_computed_for_it(
    server: Server, variant: str, way: str, rows: int
) -> None:
    body, headers = request_body(rows), {}
    if way == "header":
        headers["x-request-timeout-seconds"] = "0.05"
    else:
        body["parameters"] = {"timeout_seconds": 0.05}
    counts = Counts(server, variant)
    with busy(server, variant) as large:
        answer = server.infer(body, variant, **headers)
    assert set(large) == {200}
    gained = counts.gained()
    assert gained[f"batch_rows_sum {variant}"] == len(large) * LARGE_ROWS
    if way == "header" and answer.status == 408:
        # Ray Serve has a timer for the same header, and a starved loop finds both due at once.
        assert gained["requests_total cancelled"] == 1
        return
    assert answer.status == 504
    assert f"variant '{variant}' has no answer within the time" in answer.json()["error"]
    assert gained["requests_total deadline"] == gained["rejections_total deadline"] == 1


@pytest.mark.parametrize("value", ["0", "soon"])
def test_a_bad_time_limit_is_said(server: Server, variant: str, value: str) -> None:
    answer = server.infer(request_body(), variant, **{"x-request-timeout-seconds": value})
    assert answer.status == 400
    assert f"expected seconds above 0, given '{value}'" in answer.json()["error"]


def test_a_caller_that_vanishes_costs_nothing(server: Server, variant: str) -> None:
    counts = Counts(server, variant)

    def cancelled() -> float:
        with vanishing(server, variant):
            time.sleep(UNDER_WAY_SECONDS)
        return counts.gained().get("requests_total cancelled", 0)

    with busy(server, variant) as large:
        # A look takes two seconds while a replica that is gone is waited for.
        eventually(lambda: cancelled() >= 4, 60)
    assert set(large) == {200}
    assert counts.gained()[f"batch_rows_sum {variant}"] == len(large) * LARGE_ROWS


def vanishing(server: Server, variant: str) -> socket.socket:
    """A connection on which a request was sent."""
    body = json.dumps(request_body()).encode()
    head = (
        f"POST /v2/models/{MODEL}/versions/{variant}/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(head.encode() + body)
    return connection


def test_a_flood_does_not_starve_another_caller(server: Server, variant: str) -> None:
    def ask(caller: str) -> float:
        started = time.monotonic()
        answer = server.infer(request_body(), variant, **{"x-slimserve-caller": caller})
        assert answer.status == 200
        return time.monotonic() - started

    with busy(server, variant, 2), ThreadPoolExecutor(33) as pool:
        flood = [pool.submit(ask, "flood") for _ in range(32)]
        other = [ask("other") for _ in range(3)]
        waited = [future.result() for future in flood]
    assert statistics.median(other) < statistics.median(waited)


def test_a_heavy_variant_does_not_block_the_gateways(server: Server) -> None:
    times = []
    started = time.monotonic()
    server.infer(request_body(), "heavy")
    alone = time.monotonic() - started
    with busy(server, "heavy"):
        for _ in range(20):
            started = time.monotonic()
            assert server.request("GET", "/v2/health/live").status == 200
            times.append(time.monotonic() - started)
    assert statistics.median(times) < alone / 2
