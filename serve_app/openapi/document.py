"""The OpenAPI 3.1 document of one gateway: its operations, with this model's schemas."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from compression.store import Manifest, ModelDocument
from serve_app.openapi.example import Example
from serve_app.openapi.operations import (
    ERRORS,
    MAY_BE_MISSING,
    VARIANTS,
    VERSION,
    Operation,
    operations,
)
from serve_app.openapi.schemas import TEXT, WHOLE, Schema, make_schemas, ref

Json = dict[str, Any]
_BEARER = "adminToken"


def make_document(
    document: ModelDocument, manifests: Mapping[str, Manifest], max_rows: int, example: Example
) -> Json:
    """The document, as JSON values, for a model served in these variants."""
    paths: dict[str, Json] = {}
    variants = list(manifests)
    examples = _examples(document, manifests[document.champion], example)
    for operation in operations(document.name):
        made = _operation(operation, variants, examples)
        paths.setdefault(operation.path, {})[operation.method] = made
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"slimserve: {document.name}",
            "version": importlib.metadata.version("slimserve"),
            "description": f"The model {document.name!r} in the variants {', '.join(variants)}.",
        },
        "paths": paths,
        "components": {
            "schemas": make_schemas(document, variants, max_rows),
            "securitySchemes": {_BEARER: {"type": "http", "scheme": "bearer"}},
        },
    }


def _examples(document: ModelDocument, champion: Manifest, example: Example) -> dict[str, Json]:
    """By the schema that they are examples of."""
    found = {
        "ScoreRequest": example.score_request(document),
        "InferRequest": example.infer_request(document),
        "ScoreAnswer": example.score_answer(document, champion),
    }
    return {name: value for name, value in found.items() if value is not None}


def _operation(operation: Operation, variants: list[str], examples: Mapping[str, Json]) -> Json:
    made: Json = {
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": _parameters(operation, variants),
        "responses": {"200": _answer(operation, examples)}
        | {str(status): _error(status) for status in operation.errors},
    }
    if operation.request is not None:
        body = _content(operation.request, examples)
        required = operation.request not in MAY_BE_MISSING
        made["requestBody"] = {"required": required, "content": body}
    if operation.secured:
        made["security"] = [{_BEARER: []}]
    return made


def _operation_id(operation: Operation) -> str:
    parts = operation.path.replace(VERSION, "version").replace(".", "/").strip("/").split("/")
    return "_".join([operation.method, *filter(None, parts)])


def _parameters(operation: Operation, variants: list[str]) -> list[Json]:
    one = {"type": "string", "enum": variants}
    pinned = VERSION in operation.path
    found: list[Json] = []
    if pinned:
        # What may be loaded is not served yet.
        schema = TEXT if operation.tag == VARIANTS else one
        found.append({"name": "version", "in": "path", "required": True, "schema": schema})
    if operation.routed and not pinned:
        found.append(_header("x-slimserve-variant", "Pins: this variant answers.", one))
    if operation.routed:
        told = "Routing key, where the body has none."
        found.append(_header("x-slimserve-routing-key", told, TEXT))
    return found


def _header(name: str, description: str, schema: Schema) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _answer(operation: Operation, examples: Mapping[str, Json]) -> Json:
    made: Json = {"description": operation.summary}
    if not operation.answer:
        return made
    if "/" in operation.answer:
        made["content"] = {operation.answer: {}}
    else:
        made["content"] = _content(operation.answer, examples)
    if operation.routed:
        headers: dict[str, Schema] = {
            "x-slimserve-variant": TEXT, "x-slimserve-table-version": WHOLE,
        }  # fmt: skip
        made["headers"] = {name: {"schema": schema} for name, schema in headers.items()}
    return made


def _error(status: int) -> Json:
    return {"description": ERRORS[status], "content": _content("Error", {})}


def _content(schema: str, examples: Mapping[str, Json]) -> Json:
    made: Json = {"schema": ref(schema)}
    if schema in examples:
        made["example"] = examples[schema]
    return {"application/json": made}
