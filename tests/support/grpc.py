"""Requests of the protocol as protobuf messages."""

from __future__ import annotations

from serve_app.protocol.contents import write_contents
from serve_app.protocol.inference.messages_pb2 import ModelInferRequest
from tests.support.store import MODEL, SAMPLE_ROWS, make_samples


def infer_request(
    rows: int = 1, *, start: int = 0, raw: bool = True, version: str = "", id: str = ""
) -> ModelInferRequest:
    """Sample rows, as raw or typed contents."""
    request = ModelInferRequest(model_name=MODEL, model_version=version, id=id)
    for name, array in (
        make_samples(max(SAMPLE_ROWS, start + rows)).rows(start, start + rows).items()
    ):
        tensor = request.inputs.add(name=name, datatype="FP32", shape=array.shape)
        if raw:
            request.raw_input_contents.append(array.tobytes())
        else:
            tensor.contents.CopyFrom(write_contents(array, "FP32"))
    return request
