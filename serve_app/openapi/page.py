"""`GET /docs`: the OpenAPI document as one page of plain HTML, without scripts and without a CDN.

The packaged viewers (Swagger UI, Redoc, Scalar) are one to three megabytes of scripts for some
dozens of operations; this page works where browsers are not allowed to load any.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

_LONGEST_INLINE = 600
"""Bytes of a body that a line to paste may hold; a longer one is fetched from the server."""


def make_page(document: Mapping[str, Any], origin: str, model: str) -> bytes:
    """The page. `origin` is the server's address as the client wrote it, e.g. http://host:8000."""
    operations = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = document["components"]["schemas"]
    template = Template(files("serve_app.openapi").joinpath("docs.html").read_text("utf-8"))
    return template.substitute(
        title=escape(document["info"]["title"]),
        description=escape(document["info"]["description"]),
        command=escape(score_command(document, origin, model)),
        operations="\n".join(operations),
        schemas="\n".join(_schema(name, schema) for name, schema in schemas.items()),
    ).encode()


def score_command(document: Mapping[str, Any], origin: str, model: str) -> str:
    """A line for a shell that scores the example."""
    base = shlex.quote(f"{origin}/v1/models/{model}")
    operation = document["paths"][f"/v1/models/{model}/score"]["post"]
    body = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
    if len(body) <= _LONGEST_INLINE:
        return f"curl -s {base}/score -d {shlex.quote(body)}"
    return f"curl -s {base}/example | curl -s {base}/score -d @-"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [_parameter(parameter) for parameter in operation["parameters"]]
    if "requestBody" in operation:
        parts.append(_content("Body", operation["requestBody"]["content"]))
    for status, response in operation["responses"].items():
        parts.append(_content(f"{status}: {response['description']}", response.get("content")))
    return (
        f'<details><summary><b class="{method}">{method.upper()}</b> <code>{escape(path)}</code> '
        f"{escape(operation['summary'])}</summary>{''.join(parts)}</details>"
    )


def _parameter(parameter: Mapping[str, Any]) -> str:
    told = parameter.get("description") or ", ".join(parameter["schema"].get("enum", ()))
    return f"<p><code>{escape(parameter['name'])}</code> ({parameter['in']}) {escape(told)}</p>"


def _content(title: str, content: Mapping[str, Any] | None) -> str:
    if content is None:
        return f"<p>{escape(title)}</p>"
    ((kind, made),) = content.items()
    name = made.get("schema", {}).get("$ref", "").rpartition("/")[2]
    link = f'<a href="#{name}">{name}</a>' if name else kind
    example = f"<pre>{_json(made['example'])}</pre>" if "example" in made else ""
    return f"<p>{escape(title)} {link}</p>{example}"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    return f'<h3 id="{name}">{name}</h3><pre>{_json(schema)}</pre>'


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=1, ensure_ascii=False))
