"""Messages of the protocol as typed structs, decoded by msgspec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

Parameters = dict[str, str | int | float | bool | None]


class InputTensor(msgspec.Struct, gc=False):
    """One input. `data` stays raw until the model's datatype is known."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: Parameters | None = None


class OutputChoice(msgspec.Struct, gc=False):
    """An output the caller asks for."""

    name: str
    parameters: Parameters | None = None


class InferRequest(msgspec.Struct, gc=False):
    """Body of POST …/infer. Unknown keys are left aside, as the protocol wants."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[OutputChoice] | None = None


class OutputTensor(msgspec.Struct, gc=False):
    """One output, its data flat and row-major."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class BinaryOutput(msgspec.Struct, gc=False):
    """One output whose bytes follow the JSON; `parameters` has their number."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int]


class InferResponse(msgspec.Struct, gc=False, omit_defaults=True):
    """Answer of POST …/infer. `model_version` is the variant."""

    model_name: str
    model_version: str
    outputs: Sequence[OutputTensor | BinaryOutput]
    parameters: dict[str, str | int]
    id: str | None = None


class ErrorResponse(msgspec.Struct, gc=False):
    """Body of every 4xx and 5xx."""

    error: str


encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(InferRequest).decode
