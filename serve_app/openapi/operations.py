"""The operations that the gateway offers, as a table: what is added to its routes is added here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PROTOCOL, EXTENSIONS = "Open Inference Protocol", "Extensions of the protocol"
SCORES, SERVER, CONTROL = "Scores", "Server", "Routing"
VARIANTS = "Variants"

ERRORS = {
    400: "The request is not what is expected; the message names the field.",
    401: "The admin token is missing or wrong.",
    403: "Changes are switched off: the server has no admin token.",
    404: "No such variant.",
    408: "The body did not come in time.",
    409: "Somebody else changed the table first, or the variant is needed, or must be deployed.",
    413: "The body is longer than the server takes.",
    415: "The body is compressed.",
    422: "A gateway could not load what is published; nothing was changed.",
    429: "Too many rows wait for this variant: try again.",
    500: "The variant failed, and the champion too.",
    501: "A part of the protocol that is not offered.",
    503: "Nobody can answer now: try again.",
}

_BODY = (408, 413)
_ASKED = (400, 404, *_BODY, 415, 429, 500, 503)
MAY_BE_MISSING = frozenset({"IndexRequest", "LoadRequest", "VariantOptions"})
"""Bodies that ask for nothing in particular where they are left out."""

_CHANGES = (401, 403, 404, 409, 503)

VERSION = "{version}"


@dataclass(frozen=True)
class Operation:
    """One method of one path. Schemas are named as in `serve_app.openapi.schemas`."""

    method: Literal["get", "post", "put", "delete"]
    path: str
    tag: str
    summary: str
    answer: str
    """Schema of the answer, its content type where it is not JSON, "" where it is empty."""
    request: str | None = None
    """Schema of the body."""
    errors: tuple[int, ...] = ()
    routed: bool = False
    """Takes the headers that pin and that carry a routing key; says in headers who answered."""
    secured: bool = False
    """Needs the admin token."""


def operations(model: str) -> tuple[Operation, ...]:
    """All of them, for a model. A path may end in, or hold, `{version}`: the variant's name."""
    repository = f"/v2/repository/models/{model}"
    v2, admin = f"/v2/models/{model}", f"/admin/v1/models/{model}/routing"
    pinned = f"{v2}/versions/{VERSION}"
    variants = f"/admin/v1/models/{model}/variants"
    variant = f"{variants}/{VERSION}"
    return (
        Operation(
            "post", f"/v1/models/{model}/score", SCORES, "Score rows with named fields",
            "ScoreAnswer", "ScoreRequest", _ASKED, routed=True,
        ),
        Operation(
            "get", f"/v1/models/{model}/example", SCORES, "A request to score that works",
            "ScoreRequest",
        ),
        Operation(
            "post", f"{v2}/infer", PROTOCOL, "Infer", "InferAnswer", "InferRequest",
            (*_ASKED, 501), routed=True,
        ),
        Operation(
            "post", f"{pinned}/infer", PROTOCOL, "Infer with one variant", "InferAnswer",
            "InferRequest", (*_ASKED, 501), routed=True,
        ),
        Operation("get", v2, PROTOCOL, "The model's inputs and outputs", "Model"),
        Operation("get", pinned, PROTOCOL, "A variant", "Model", errors=(404,)),
        Operation(
            "get", f"{v2}/ready", PROTOCOL, "Whether the champion answers", "ModelReady",
            errors=(503,),
        ),
        Operation(
            "get", f"{pinned}/ready", PROTOCOL, "Whether a variant answers", "ModelReady",
            errors=(404, 503),
        ),
        Operation("get", f"{v2}/config", EXTENSIONS, "The champion's configuration", "Config"),
        Operation(
            "get", f"{pinned}/config", EXTENSIONS, "A variant's configuration", "Config",
            errors=(404,),
        ),
        Operation("get", "/v2/models/stats", EXTENSIONS, "Statistics of all models", "Stats"),
        Operation("get", f"{v2}/stats", EXTENSIONS, "Statistics of all variants", "Stats"),
        Operation(
            "get", f"{pinned}/stats", EXTENSIONS, "Statistics of a variant", "Stats", errors=(404,)
        ),
        Operation(
            "post", "/v2/repository/index", EXTENSIONS, "What the store has, and what is served",
            "RepositoryIndex", "IndexRequest", (400, *_BODY, 503),
        ),
        Operation(
            "post", f"{repository}/load", EXTENSIONS, "Serve all that is published, as it is",
            "", "LoadRequest", (400, *_BODY, 422, 501, *_CHANGES),
        ),
        Operation(
            "post", f"{repository}/unload", EXTENSIONS, "Refused: the model stays loaded",
            "", "LoadRequest", (*_BODY, 501),
        ),
        Operation("get", "/v2", PROTOCOL, "The server and the extensions it offers", "Server"),
        Operation("get", "/v2/health/live", PROTOCOL, "Whether it lives", "Live"),
        Operation(
            "get", "/v2/health/ready", PROTOCOL, "Whether it can answer", "Ready", errors=(503,)
        ),
        Operation(
            "get", admin, CONTROL, "The routing table in force", "RoutingTable", errors=(503,)
        ),
        Operation(
            "put", admin, CONTROL, "Replace the routing table", "RoutingTable", "TableChange",
            (400, 401, 403, 409, *_BODY, 503), secured=True,
        ),
        Operation(
            "get", variants, VARIANTS, "What is served, and what is published", "Variants"
        ),
        Operation(
            "get", variant, VARIANTS, "Whether and how a variant is served", "Variant",
            errors=(404,),
        ),
        Operation(
            "post", variant, VARIANTS, "Serve a variant as it is published now", "VariantChange",
            "VariantOptions", (400, *_BODY, 422, *_CHANGES), secured=True,
        ),
        Operation(
            "delete", variant, VARIANTS, "Serve a variant no longer", "VariantChange",
            errors=_CHANGES, secured=True,
        ),
        Operation("get", "/metrics", SERVER, "Metrics of all replicas", "text/plain"),
        Operation("get", "/openapi.json", SERVER, "This document", "application/json"),
        Operation("get", "/docs", SERVER, "This document, for people", "text/html"),
        Operation("get", "/", SERVER, "Where everything is", "Index"),
    )  # fmt: skip
