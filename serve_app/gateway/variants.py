"""Which variants are served, and changing that: `/admin/v1/models/{m}/variants`.

    GET                 what is served and what is published
    POST   …/{variant}  serve it as it is published now; the body may hold keys of its configuration
    DELETE …/{variant}  serve it no longer

`index`, `load` and `unload` are the same without HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from compression.store import Manifest, StoreError
from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.errors import InvalidOptionsError, NotPublishedError
from serve_app.gateway.control import Control, explain_change
from serve_app.gateway.http import respond_json
from serve_app.gateway.predict import Predictor
from serve_app.gateway.served import Served

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class VariantAdmin:
    """The catalogue as one gateway tells of it. `check_token` raises where a scope has none."""

    def __init__(
        self,
        served: Served,
        predictor: Predictor,
        control: Control,
        check_token: Callable[[Scope], None],
        read_body: Callable[[Scope, Receive], Awaitable[bytes]],
    ) -> None:
        self._served = served
        self._predictor = predictor
        self._control = control
        self._check_token = check_token
        self._read_body = read_body
        self._reading = asyncio.Lock()
        self._path = f"/admin/v1/models/{served.document.name}/variants"

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method."""
        return {self._path: {"GET": self._get}}

    def route(self, path: str) -> dict[str, Handler] | None:
        """Handlers of the path of one variant, served or not; None for any other path."""
        parent, _, name = path.rpartition("/")
        if parent != self._path or not name:
            return None
        return {
            "GET": partial(self._get_one, name),
            "POST": partial(self._post, name),
            "DELETE": partial(self._delete, name),
        }

    async def index(self) -> list[dict[str, Any]]:
        """Every variant that is served or published: its name, `state`, and how it is served.

        States: `served`; `changed` (served, and another publication of it is in the store);
        `unpublished` (served, and not in the store any more); `published` (not served).

        Raises:
            StoreError: the store cannot be read.
        """
        # One look at a time, however many ask.
        async with self._reading:
            published = await self._control.published()
        return await self._index(published)

    async def _index(self, published: Mapping[str, Manifest] | None) -> list[dict[str, Any]]:
        names = [*self._served.manifests, *sorted((published or {}).keys())]
        return [await self._describe(name, published) for name in dict.fromkeys(names)]

    async def load(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Serve a variant on all gateways; returns {"version": of the catalogue}.

        Raises:
            ControlError: it cannot be served; the leaf says why.
        """
        return explain_change(await self._control.load_variant(name, options))

    async def unload(self, name: str) -> dict[str, Any]:
        """Serve a variant no longer; returns {"version": of the catalogue}.

        Raises:
            ControlError: it is needed, or is not there.
        """
        return explain_change(await self._control.unload_variant(name))

    async def _known(self) -> list[dict[str, Any]]:
        """The index, or what is served alone where the store cannot be read."""
        try:
            return await self.index()
        except StoreError:
            return await self._index(None)

    async def _describe(
        self, name: str, published: Mapping[str, Manifest] | None
    ) -> dict[str, Any]:
        served = self._served.manifests.get(name)
        described: dict[str, Any] = {"name": name, "state": _state(name, served, published)}
        manifest = served or (published or {}).get(name)
        if manifest is not None:
            described |= {
                "gate": manifest.gate.verdict,
                "precision": manifest.runtime.precision,
                "bytes": manifest.bytes,
                "created_at": manifest.created_at,
            }
        backend = self._predictor.backends.get(name)
        if backend is not None:
            described |= {"placement": backend.placement, "ready": await backend.ready()}
        return described

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(
            send, {"version": self._served.version, "variants": await self._known()}
        )  # fmt: skip

    async def _get_one(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        for described in await self._known():
            if described["name"] == name:
                await respond_json(send, described)
                return
        raise NotPublishedError(f"variant {name!r} is neither served nor published")

    async def _post(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_token(scope)
        body = await self._read_body(scope, receive)
        try:
            options = _decode(body) if body else {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidOptionsError(f"variant {name!r}: the body: {error}") from error
        await respond_json(send, {"name": name, **await self.load(name, options)})

    async def _delete(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_token(scope)
        await respond_json(send, {"name": name, **await self.unload(name)})


def _state(
    name: str, served: Manifest | None, published: Mapping[str, Manifest] | None
) -> str:  # fmt: skip
    if served is None:
        return "published"
    if published is None or published.get(name) == served:
        return "served"
    return "changed" if name in published else "unpublished"
