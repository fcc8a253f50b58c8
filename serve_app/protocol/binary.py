"""The binary tensor data extension: a body is JSON, then the tensors' bytes in their order.

The header `Inference-Header-Content-Length` says where the JSON ends. Inputs in JSON and in bytes
may be mixed in one request. The length 0 means that there is no JSON at all: the body is one input.
"""

from __future__ import annotations

from serve_app.errors import MalformedRequestError
from serve_app.protocol.messages import InputTensor

HEADER = b"inference-header-content-length"
SIZE = "binary_data_size"
"""Parameter of a tensor whose bytes follow the JSON."""

_MAX_DIGITS = 18


def parse_json_bytes(value: bytes) -> int:
    """The header's value: how many bytes of the body are JSON.

    Raises:
        MalformedRequestError: it is not a number of bytes.
    """
    if not value.isdigit() or len(value) > _MAX_DIGITS:
        raise MalformedRequestError(
            f"Inference-Header-Content-Length: expected a number of bytes, given {value[:40]!r}"
        )
    return int(value)


class Blobs:
    """The bytes behind the JSON, handed out in the order in which they are asked for.

    Without the header (`json_bytes` None) all of the body is JSON and no tensor has bytes.
    """

    def __init__(self, body: bytes, json_bytes: int | None) -> None:
        """`json_bytes` is where the JSON ends.

        Raises:
            MalformedRequestError: that is behind the body's end.
        """
        if json_bytes is not None and json_bytes > len(body):
            raise MalformedRequestError(
                f"Inference-Header-Content-Length: expected at most {len(body)}, the length of "
                f"the body, given {json_bytes}"
            )
        self._announced = json_bytes is not None
        self._rest = memoryview(body)[len(body) if json_bytes is None else json_bytes :]

    def take(self, tensor: InputTensor) -> memoryview:
        """The bytes of a tensor that has the parameter `binary_data_size`; no copy.

        Raises:
            MalformedRequestError: the size is none, the header is missing, the body is too short,
                or the tensor has data in the JSON as well.
        """
        size = (tensor.parameters or {})[SIZE]
        where = f"input {tensor.name!r}: {SIZE}:"
        if type(size) is not int or size < 0:
            raise MalformedRequestError(
                f"{where} expected a number of bytes, given {repr(size)[:40]}"
            )
        if not self._announced:
            raise MalformedRequestError(
                f"{where} expected the header Inference-Header-Content-Length, given none"
            )
        if bytes(tensor.data):
            raise MalformedRequestError(f"{where} expected no data in the JSON, given both")
        if size > len(self._rest):
            raise MalformedRequestError(
                f"{where} expected at most the {len(self._rest)} bytes that are left of the body, "
                f"given {size}"
            )
        blob, self._rest = self._rest[:size], self._rest[size:]
        return blob

    def finish(self) -> None:
        """To be called when every tensor has its bytes.

        Raises:
            MalformedRequestError: some are left.
        """
        if self._rest:
            raise MalformedRequestError(
                f"the body has {len(self._rest)} bytes more than its JSON and its tensors: "
                f"expected them in some input's {SIZE}"
            )


NO_BLOBS = Blobs(b"", None)
"""Of a body that is all JSON."""
