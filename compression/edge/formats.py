"""The file formats that ONNX Runtime opens on phones and in browsers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

from compression.edge.optimiser import optimised

FormatName = Literal["onnx", "ort"]


class Format(Protocol):
    """One way to write a model down. Stateless; siblings are registered by name."""

    name: ClassVar[FormatName]
    file: ClassVar[str]

    def write(self, model: bytes) -> bytes:
        """Content of `file` for an ONNX model; raises ExportError where it cannot be run."""
        ...

    def executed(self, model: bytes) -> bytes:
        """The ONNX model whose nodes the file holds."""
        ...


class Onnx:
    """The store's own file, byte for byte; the runtime optimises it as it opens it."""

    name: ClassVar[FormatName] = "onnx"
    file: ClassVar[str] = "model.onnx"

    def write(self, model: bytes) -> bytes:
        """The model unchanged."""
        return model

    def executed(self, model: bytes) -> bytes:
        """The model unchanged."""
        return model


class Ort:
    """ORT format: optimised once, here. Minimal builds of ONNX Runtime for phones open only this.

    ONNX Runtime writes its parts in another order every time: the same model has many hashes.
    """

    name: ClassVar[FormatName] = "ort"
    file: ClassVar[str] = "model.ort"

    def write(self, model: bytes) -> bytes:
        """The optimised model in ORT's format."""
        return optimised(model, "ORT")

    def executed(self, model: bytes) -> bytes:
        """The optimised model in ONNX's format."""
        return optimised(model, "ONNX")


FORMATS: Mapping[FormatName, Format] = {kind.name: kind for kind in (Onnx(), Ort())}
