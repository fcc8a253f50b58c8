"""The protocol's model repository extension: what the store has, and what of it is served.

An answer of 200 to `load` means that the model is served as it is published. What is published and
not served, or published anew, is loaded for it as POST …/variants/{variant} does, with the same
token; where nothing is to be loaded, no token is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from compression.store import StoreError
from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.errors import (
    BackendUnavailableError,
    MalformedRequestError,
    NotReadyError,
    UnsupportedError,
)
from serve_app.gateway.bodies import Bodies
from serve_app.gateway.http import respond, respond_json
from serve_app.gateway.predict import Predictor
from serve_app.gateway.variants import VariantAdmin

_T = TypeVar("_T")

_REASONS = {
    "published": "published, but not served here",
    "changed": "published anew since it was loaded",
    "unpublished": "not in the store any more",
}
"""By a variant's state in `VariantAdmin.index`."""


class IndexRequest(msgspec.Struct):
    """Body of POST …/index; it may be missing."""

    ready: bool = False
    """Only what is ready."""


class LoadRequest(msgspec.Struct):
    """Body of POST …/load; it may be missing."""

    parameters: dict[str, Any] = {}


class Repository:
    """The routes of the extension for one model, whose variants are its versions."""

    def __init__(
        self,
        model: str,
        predictor: Predictor,
        variants: VariantAdmin,
        check_token: Callable[[Scope], None],
        bodies: Bodies,
    ) -> None:
        self._model = model
        self._predictor = predictor
        self._variants = variants
        self._check_token = check_token
        self._bodies = bodies

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method."""
        model = f"/v2/repository/models/{self._model}"
        return {
            "/v2/repository/index": {"POST": self._index},
            f"{model}/load": {"POST": self._load},
            f"{model}/unload": {"POST": self._unload},
        }

    async def _index(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _parse(await self._bodies.read(scope, receive), IndexRequest)
        entries = [_entry(self._model, one) for one in await self._known()]
        await respond_json(
            send, [one for one in entries if one["state"] == "READY" or not asked.ready]
        )  # fmt: skip

    async def _load(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _parse(await self._bodies.read(scope, receive), LoadRequest)
        if asked.parameters:
            raise UnsupportedError(
                f"parameters: a model is loaded as it is published, expected none of "
                f"{', '.join(sorted(asked.parameters))}"[:300]
            )
        known = await self._known()
        others = [one["name"] for one in known if one["state"] in ("published", "changed")]
        if others:
            self._check_token(scope)
        for name in others:
            await self._variants.load(name, {})
        for name, backend in list(self._predictor.backends.items()):
            if not await backend.ready():
                raise NotReadyError(f"variant {name!r} does not answer: try again")
        await respond(send, 200, b"")

    async def _unload(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._bodies.read(scope, receive)
        raise UnsupportedError(
            f"model {self._model!r} is what this application serves and stays loaded: take a "
            "variant's traffic away by its weight in the routing table, remove a variant with "
            f"DELETE /admin/v1/models/{self._model}/variants/VARIANT, or end the application with "
            "`serve shutdown`"
        )

    async def _known(self) -> list[dict[str, Any]]:
        try:
            return await self._variants.index()
        except (StoreError, OSError) as error:
            raise BackendUnavailableError(
                "the model store cannot be read now: try again; what is served is at "
                f"GET /v2/models/{self._model}"
            ) from error


def _entry(model: str, variant: dict[str, Any]) -> dict[str, str]:
    reason = _REASONS.get(variant["state"], "")
    ready = variant.get("ready", False)
    if not ready and variant["state"] != "published":
        reason = "no replica answers"
    state = "READY" if ready else "UNAVAILABLE"
    return {"name": model, "version": variant["name"], "state": state, "reason": reason}


def _parse(body: bytes, kind: type[_T]) -> _T:
    """The body as `kind`; an empty one asks for nothing in particular."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"the body is not a request: {error}") from error
