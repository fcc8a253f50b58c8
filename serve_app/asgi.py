"""The types of an ASGI application's parts, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application, or the part of one that answers a path."""

RECEIVED = "slimserve.received"
"""Key of a scope: when the request was there, a reading of `time.perf_counter()`. The data port
sets it; a request may have waited there since."""
