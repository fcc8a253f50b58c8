"""About the least that one Python process can do: raw ASGI, msgspec, one ONNX Runtime session.

    SLIMSERVE_BENCH_MODEL=model.onnx uvicorn loadtest.baselines.bare_asgi:app

It reads the bodies of the Open Inference Protocol, JSON and binary, and checks nothing: no limits,
no batches, no routing, no metrics, no answer to a wrong request but a broken connection.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from loadtest.baselines.model import open_model

_session = open_model()
_outputs = [output.name for output in _session.get_outputs()]

Arrays = dict[str, npt.NDArray[Any]]


class Input(msgspec.Struct):
    """One input tensor; `data` is flat, or stands behind the JSON."""

    name: str
    shape: list[int]
    data: list[float] = []


class Request(msgspec.Struct):
    """What is read of a request."""

    inputs: list[Input]


_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


async def app(scope: Any, receive: Any, send: Any) -> None:
    """GET anything: 200. POST anything: the score."""
    if scope["type"] != "http":
        return
    answer = b"{}" if scope["method"] == "GET" else _answer(scope, await _read(receive))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _read(receive: Any) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


def _answer(scope: Any, body: bytes) -> bytes:
    scores = _session.run(_outputs, _inputs(scope, body))
    outputs = [
        {"name": name, "datatype": "FP32", "shape": array.shape, "data": array.ravel().tolist()}
        for name, array in zip(_outputs, scores, strict=True)
    ]
    return _encode({"outputs": outputs})


def _inputs(scope: Any, body: bytes) -> Arrays:
    for name, value in scope["headers"]:
        if name == b"inference-header-content-length":
            return _binary(body, int(value))
    return {
        tensor.name: np.array(tensor.data, dtype=np.float32).reshape(tensor.shape)
        for tensor in _decode(body).inputs
    }


def _binary(body: bytes, offset: int) -> Arrays:
    arrays = {}
    for tensor in _decode(body[:offset]).inputs:
        count = int(np.prod(tensor.shape))
        array = np.frombuffer(body, dtype="<f4", count=count, offset=offset)
        arrays[tensor.name] = array.reshape(tensor.shape)
        offset += array.nbytes
    return arrays
