from __future__ import annotations

import re
import shlex
from html.parser import HTMLParser

import pytest

from serve_app.openapi.document import make_document as make_openapi
from serve_app.openapi.example import Example
from serve_app.openapi.operations import operations
from serve_app.openapi.page import make_page, score_command
from tests.serve_app.gateway.fakes import VARIANTS, Gateway, example
from tests.support.asgi import call
from tests.support.store import MODEL, make_document, make_manifest

MANIFESTS = {name: make_manifest(name, b"", [0.25]) for name in VARIANTS}
ORIGIN = "http://host:8123"


class Page(HTMLParser):
    """Tags, links and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "id":
                self.ids.add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def page() -> Page:
    openapi = make_openapi(make_document(), MANIFESTS, 8, example())
    return Page(make_page(openapi, ORIGIN, MODEL).decode())


def test_it_works_offline() -> None:
    shown = page()
    assert not shown.tags & {"script", "img", "iframe", "object", "link"}
    assert set(shown.links) - {"openapi.json"} == {f"#{name}" for name in shown.ids} & set(
        shown.links
    )
    assert not re.search(r"https?://(?!host:8123)", shown.text)


def test_it_shows_every_operation_and_a_line_to_paste() -> None:
    shown = page().text
    for operation in operations(MODEL):
        assert operation.path in shown
        assert operation.summary in shown
    assert f"curl -s {ORIGIN}/v1/models/fraud/score -d" in shown


def test_a_long_example_is_fetched_from_the_server() -> None:
    wide = make_document().model_dump(mode="json")
    wide["inputs"][0] |= {"shape": [-1, 200], "features": [f"f{i}" for i in range(200)]}
    document = type(make_document()).model_validate(wide)
    arrays = {**example().inputs}
    arrays["transaction"] = arrays["transaction"].repeat(50, axis=1)
    openapi = make_openapi(document, MANIFESTS, 8, Example(arrays, "c1"))
    base = f"{ORIGIN}/v1/models/fraud"
    line = score_command(openapi, ORIGIN, MODEL)
    assert line == f"curl -s {base}/example | curl -s {base}/score -d @-"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"host": "ml.example:80"}, "http://ml.example:80"),
        ({"host": "ml.example", "x-forwarded-proto": "https"}, "https://ml.example"),
        ({"host": "x'$(id)<b>", "x-forwarded-proto": "javascript"}, "http://x"),
        ({}, "http://localhost:8000"),
    ],
)
async def test_the_line_has_the_address_that_the_client_used(
    headers: dict[str, str], origin: str
) -> None:
    answer = await call(Gateway().app, "GET", "/docs", headers=headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    shown = Page(answer.body.decode())
    (line,) = re.findall(r"curl -s .*", shown.text)
    command, _, address, option, body = shlex.split(line)
    assert (command, option) == ("curl", "-d")
    assert address.startswith(origin)
    assert address.endswith("/v1/models/fraud/score")
    scored = await call(Gateway().app, "POST", "/v1/models/fraud/score", body.encode())
    assert scored.status == 503  # it has no table yet, but nothing against the body
