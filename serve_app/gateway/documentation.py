"""GET /openapi.json, /docs and /v1/models/{m}/example: what a stranger reads first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compression.store import Manifest, ModelDocument
from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.gateway.http import header, respond, respond_json
from serve_app.openapi.document import make_document
from serve_app.openapi.example import Example
from serve_app.openapi.page import make_page

_HTML = (b"content-type", b"text/html; charset=utf-8")


class Documentation:
    """Made anew for each reader: it says which variants are served now."""

    def __init__(
        self,
        document: ModelDocument,
        manifests: Mapping[str, Manifest],
        max_rows: int,
        example: Example,
    ) -> None:
        self._document = document
        self._manifests = manifests
        self._max_rows = max_rows
        self._example = example

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method."""
        routes: dict[str, Handler] = {
            "/openapi.json": self._openapi,
            "/docs": self._docs,
            f"/v1/models/{self._document.name}/example": self._request,
        }
        return {path: {"GET": handler} for path, handler in routes.items()}

    def _made(self) -> dict[str, Any]:
        return make_document(self._document, self._manifests, self._max_rows, self._example)

    async def _openapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(send, self._made())

    async def _docs(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = make_page(self._made(), _origin(scope), self._document.name)
        await respond(send, 200, page, (_HTML,))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(send, self._example.score_request(self._document))


def _origin(scope: Scope) -> str:
    """The server's address as the client knows it."""
    scheme = header(scope, b"x-forwarded-proto") or b"http"
    host = header(scope, b"host") or b"localhost:8000"
    return f"{'https' if scheme == b'https' else 'http'}://{host.decode('latin-1')}"
