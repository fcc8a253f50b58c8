"""The protocol's model repository extension: what the store has, and what of it is served.

A gateway loads what the application's configuration names, when it starts. So `load` of what is
loaded is answered with yes, and everything else with what to do instead: an answer of 200 means
that the model is served as it is published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from compression.store import Manifest, ModelDocument, ModelStore, StoreError
from serve_app.errors import (
    BackendUnavailableError,
    MalformedRequestError,
    NotReadyError,
    UnsupportedError,
)
from serve_app.gateway.bodies import Bodies
from serve_app.gateway.http import Handler, Receive, Scope, Send, respond, respond_json
from serve_app.gateway.predict import Predictor

_T = TypeVar("_T")


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
        store_uri: str,
        document: ModelDocument,
        manifests: Mapping[str, Manifest],
        predictor: Predictor,
        bodies: Bodies,
    ) -> None:
        self._store_uri = store_uri
        self._model = document.name
        self._manifests = manifests
        self._predictor = predictor
        self._bodies = bodies
        self._reading = asyncio.Lock()

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
        states = {name: await self._state(name) for name in self._manifests}
        for name in sorted(await self._published()):
            states.setdefault(name, ("UNAVAILABLE", "published, but not served here"))
        entries = [
            {"name": self._model, "version": name, "state": state, "reason": reason}
            for name, (state, reason) in states.items()
            if state == "READY" or not asked.ready
        ]
        await respond_json(send, entries)

    async def _load(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _parse(await self._bodies.read(scope, receive), LoadRequest)
        if asked.parameters:
            raise UnsupportedError(
                f"parameters: a model is loaded as it is published, expected none of "
                f"{', '.join(sorted(asked.parameters))}"[:300]
            )
        published = await self._published()
        others = sorted(name for name, one in published.items() if one != self._manifests.get(name))
        if others:
            raise UnsupportedError(
                f"of model {self._model!r} {', '.join(others)} is published but not what is "
                "served: redeploy the application with it among its variants"
            )
        for name in self._manifests:
            if not await self._predictor.backends[name].ready():
                raise NotReadyError(f"variant {name!r} does not answer: try again")
        await respond(send, 200, b"")

    async def _unload(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._bodies.read(scope, receive)
        raise UnsupportedError(
            f"model {self._model!r} is what this application serves and stays loaded: take a "
            "variant's traffic away by its weight in the routing table, redeploy without the "
            "variant, or end the application with `serve shutdown`"
        )

    async def _state(self, name: str) -> tuple[str, str]:
        if await self._predictor.backends[name].ready():
            return "READY", ""
        return "UNAVAILABLE", "no replica answers"

    async def _published(self) -> dict[str, Manifest]:
        """What the store has now; one look at a time, however many ask."""
        async with self._reading:
            try:
                return await asyncio.to_thread(_manifests, self._store_uri, self._model)
            except (StoreError, OSError) as error:
                raise BackendUnavailableError(
                    "the model store cannot be read now: try again; what is served is at "
                    f"GET /v2/models/{self._model}"
                ) from error


def _manifests(uri: str, model: str) -> dict[str, Manifest]:
    store = ModelStore(uri)
    store.model(model)  # a store that is gone has no variants, either
    return {name: store.manifest(model, name) for name in store.variants(model)}


def _parse(body: bytes, kind: type[_T]) -> _T:
    """The body as `kind`; an empty one asks for nothing in particular."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(f"the body is not a request: {error}") from error
