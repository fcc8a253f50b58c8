"""A small Open Inference Protocol server for tests: answers after a settable time.

Run as `uvicorn`-free code would hide what real HTTP does, so it is an ASGI app under uvicorn.
`STUB` holds JSON: service_seconds and score by variant, workers, queue (429 beyond it), and
`pause_after`/`pause_seconds` for one stall of the whole server.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

SETTINGS: dict[str, Any] = {
    "model": "fraud",
    "service_seconds": {"original": 0.004, "small": 0.0005},
    "scores": {},
    "workers": 1,
    "queue": 200,
    "pause_after": 0,
    "pause_seconds": 0.0,
    "busy": False,
    **json.loads(os.environ.get("STUB", "{}")),
}
_workers = asyncio.Semaphore(SETTINGS["workers"])
_state = {"waiting": 0, "requests": 0, "connections": 0}
_clients: set[tuple[str, int]] = set()


async def _body(receive: Any) -> bytes:
    content = b""
    while True:
        message = await receive()
        content += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return content


async def _serve(variant: str) -> None:
    async with _workers:
        seconds = float(SETTINGS["service_seconds"][variant])
        if SETTINGS["busy"]:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
        else:
            await asyncio.sleep(seconds)


async def _infer(variant: str, content: bytes) -> tuple[int, dict[str, Any]]:
    _state["requests"] += 1
    if SETTINGS["pause_after"] and _state["requests"] == SETTINGS["pause_after"]:
        time.sleep(SETTINGS["pause_seconds"])  # the whole server stalls, as under a long GC
    if _state["waiting"] >= SETTINGS["queue"]:
        return 429, {"error": "shed"}
    _state["waiting"] += 1
    try:
        await _serve(variant)
    finally:
        _state["waiting"] -= 1
    rows = json.loads(content)["inputs"][0]["shape"][0] if content else 1
    scores = (SETTINGS["scores"].get(variant) or [0.1] * rows)[:rows]
    return 200, {
        "model_name": SETTINGS["model"],
        "model_version": variant,
        "parameters": {"variant": variant, "why": "pinned", "table_version": 1},
        "outputs": [{"name": "score", "shape": [rows], "datatype": "FP32", "data": scores}],
    }


async def _answer(method: str, path: str, content: bytes) -> tuple[int, dict[str, Any]]:
    parts = path.strip("/").split("/")
    if path == "/v2/health/ready":
        return 200, {}
    if path == "/stats":
        return 200, {**_state, "connections": len(_clients)}
    if path == "/v2":
        return 200, {"name": "stub", "version": "1", "extensions": []}
    if parts[:2] != ["v2", "models"] or parts[2] != SETTINGS["model"]:
        return 404, {"error": f"no such model: {path}"}
    variant = parts[4] if len(parts) > 4 and parts[3] == "versions" else "original"
    if variant not in SETTINGS["service_seconds"]:
        return 404, {"error": f"no such variant: {variant}"}
    if method == "POST" and parts[-1] == "infer":
        return await _infer(variant, content)
    inputs = [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
    versions = list(SETTINGS["service_seconds"])
    return 200, {"name": SETTINGS["model"], "versions": versions, "inputs": inputs}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    _clients.add(tuple(scope["client"]))
    content = await _body(receive)
    status, document = await _answer(scope["method"], scope["path"], content)
    encoded = json.dumps(document).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(encoded)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})
