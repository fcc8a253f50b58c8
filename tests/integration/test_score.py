from __future__ import annotations

import html
import json
import re
import subprocess
from typing import Any

import numpy as np
import pytest

from tests.integration.server import MAX_BODY_BYTES, MAX_ROWS, Server
from tests.support.store import CHAMPION, MODEL, make_samples, request_body, score_body, scores

SCORE = f"/v1/models/{MODEL}/score"
VARIANTS = ["original", "close", "opposite", "poor", "fragile", "slow", "program"]
MANY = {"rows": [{"transaction": [0] * 4, "history": [[0] * 2] * 3}] * (MAX_ROWS + 1)}


def test_named_rows_are_scored_as_the_protocol_scores_them(door: Server) -> None:
    door.route()
    answer = door.request("POST", SCORE, score_body(5, customer_id="c1"))
    assert answer.status == 200
    rows = answer.json()["rows"]
    np.testing.assert_allclose(
        [row["score"] for row in rows], scores(make_samples().rows(0, 5)), atol=1e-6
    )
    inferred = door.infer(request_body(5, customer_id="c1")).json()["outputs"][0]["data"]
    assert [row["score"] for row in rows] == inferred
    assert [row["decision"] for row in rows] == [score >= 0.5 for score in inferred]
    assert {(row["variant"], row["why"]) for row in rows} == {(CHAMPION, "weight")}
    assert {row["table_version"] for row in rows} == {door.table()["version"]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_placements_are_pinned_and_counted(door: Server, variant: str) -> None:
    before = door.total("rows_total", variant=variant)
    by_field = door.request("POST", SCORE, score_body(2, variant=variant))
    by_header = door.request("POST", SCORE, score_body(1), {"x-slimserve-variant": variant})
    for answer in (by_field, by_header):
        row = answer.json()["rows"][0]
        assert (row["variant"], row["why"]) == (variant, "pin")
        assert answer.headers["x-slimserve-variant"] == variant
    assert door.total("rows_total", variant=variant) == before + 3


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (score_body(variant="nobody"), 404, "variant 'nobody' is not served"),
        ({"rows": [score_body()["rows"][0] | {"transaction": {"amount": 1}}]}, 400,
         "row 0: transaction: field 'night' is missing"),
        (MANY, 400, f"{MAX_ROWS + 1} rows given, at most {MAX_ROWS}"),
        (b'{"rows": [', 400, "not JSON"),
        (b" " * (MAX_BODY_BYTES + 1), 413, f"expected at most {MAX_BODY_BYTES} bytes"),
    ],
)  # fmt: skip
def test_bad_rows_get_the_right_status_and_a_message(
    door: Server, body: Any, status: int, message: str
) -> None:
    answer = door.request("POST", SCORE, body)
    assert answer.status == status
    assert message in answer.json()["error"]


def test_the_documents_are_of_what_is_served(door: Server) -> None:
    openapi = door.request("GET", "/openapi.json").json()
    operation = openapi["paths"][SCORE]["post"]
    served = door.request("GET", f"/v2/models/{MODEL}").json()["versions"]
    assert operation["parameters"][0]["schema"]["enum"] == served
    body = operation["requestBody"]["content"]["application/json"]["example"]
    assert body == door.request("GET", f"/v1/models/{MODEL}/example").json()
    door.route()
    (row,) = door.request("POST", SCORE, body).json()["rows"]
    told = operation["responses"]["200"]["content"]["application/json"]["example"]["rows"][0]
    assert row["score"] == pytest.approx(told["score"], abs=1e-6)
    assert row["decision"] is told["decision"]


def test_the_line_in_the_page_works_when_pasted(door: Server) -> None:
    page = door.request("GET", "/docs").body.decode()
    (line,) = re.findall(r'<pre class="line">(curl .*)</pre>', page)
    pasted = ["bash", "-c", html.unescape(line)]
    done = subprocess.run(pasted, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["rows"][0]["variant"]
