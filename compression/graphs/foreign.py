"""Make an ONNX file from anywhere answer as a workload's variant does.

What converters write differs in how rows go in and how scores come out. The file's own graph
stays as it is; nodes are put before and after it:

* in: the workload's inputs, by name and shape; or one matrix `[n, f]`, all inputs of a row
  flattened in the workload's order;
* out: `[n]` or `[n, 1]`, the score; `[n, 2]`, its second column, the probability of class 1; or a
  label beside one of these, as skl2onnx writes it.

Float or double on either side. What would be guesswork is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, compose, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from compression.errors import ForeignGraphError
from compression.graphs.session import open_session
from compression.store.manifest import TensorSpec

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Operators of these come with ONNX Runtime."""
PREFIX = "imported_"
OLDEST_OPSET = 9
REALS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_REFUSALS = (
    ort_errors.Fail, ort_errors.NotImplemented, ort_errors.InvalidGraph,
    ort_errors.InvalidArgument, ort_errors.InvalidProtobuf, ort_errors.RuntimeException,
)  # fmt: skip

Inputs = Mapping[str, npt.NDArray[Any]]


def adapt(
    content: bytes,
    inputs: Sequence[TensorSpec],
    output: TensorSpec,
    example: Inputs,
    where: str,
) -> bytes:
    """The file's content with the workload's inputs and its one output.

    `example` are a few rows (≥ 2) of the workload by input name, to see what shape comes out;
    `where` names the file in messages.

    Raises:
        ForeignGraphError: not ONNX, not whole, an operator that ONNX Runtime lacks, inputs or
            outputs that are none of the above; says what to do.
    """
    foreign = _Foreign(_parsed(content, where), where)
    foreign.check()
    joined = _join_inputs(foreign, inputs)
    given = _outputs(joined, example, foreign)
    name, array = _score_output(given, foreign)
    nodes = _score_nodes(name, array, output, foreign)
    graph = joined.graph
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(output.name, TensorProto.FLOAT, _shape(output))
    )
    return bytes(joined.SerializeToString())


def flattened(inputs: Inputs) -> npt.NDArray[np.float32]:
    """All inputs of each row side by side, float32[n, f]."""
    columns = [array.reshape(len(array), -1) for array in inputs.values()]
    return np.concatenate(columns, axis=1).astype(np.float32, copy=False)


def width(inputs: Sequence[TensorSpec]) -> int:
    """f: how many numbers a row has."""
    return sum(math.prod(spec.shape[1:]) for spec in inputs)


def _parsed(content: bytes, where: str) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(content)
    except DecodeError as error:
        raise ForeignGraphError(f"{where} is not an ONNX file: {error}") from error
    if not model.graph.node or not model.opset_import:
        raise ForeignGraphError(
            f"{where} is not an ONNX file, or has no graph: {len(content):,} bytes; export the "
            "model again"
        )
    return model


@dataclass(frozen=True)
class _Foreign:
    """A parsed file, and its name for messages."""

    model: onnx.ModelProto
    where: str

    def refuse(self, why: str) -> ForeignGraphError:
        return ForeignGraphError(f"{self.where}: {why}")

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """Without the constants that old files list among them."""
        constants = {tensor.name for tensor in self.model.graph.initializer}
        return [value for value in self.model.graph.input if value.name not in constants]

    @property
    def opset(self) -> int | None:
        """Version of the standard operators; None where the file uses none."""
        found = {entry.domain: entry.version for entry in self.model.opset_import}
        return found.get("", found.get("ai.onnx"))

    def check(self) -> None:
        """Refuse what no adapter can help."""
        for tensor in tensors(self.model):
            if tensor.data_location == TensorProto.EXTERNAL:
                raise self.refuse(
                    f"the values of {tensor.name!r} lie in another file; a variant is one file: "
                    "save it with onnx.save(onnx.load(FILE), NEW, save_as_external_data=False)"
                )
        domains = {node.domain for node in nodes(self.model.graph)}
        unknown = sorted(domains - set(DOMAINS) - {f.domain for f in self.model.functions})
        if unknown:
            raise self.refuse(
                f"operators of the domain {unknown[0]!r} do not come with ONNX Runtime: export it "
                "with standard operators"
            )
        for value in self.model.graph.output:
            if value.type.WhichOneof("value") != "tensor_type":
                raise self.refuse(
                    f"output {value.name!r} is a list of dictionaries (ZipMap), a server sends "
                    "tensors: export it with options={'zipmap': False} (skl2onnx, onnxmltools)"
                )
        if self.opset is not None and self.opset < OLDEST_OPSET:
            raise self.refuse(
                f"its operators are of version {self.opset}, at least {OLDEST_OPSET} is needed: "
                "export it with a newer target_opset, or use onnx.version_converter"
            )


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loop bodies included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All constants: of the graph, of its branches, and of nodes."""
    yield from model.graph.initializer
    for node in nodes(model.graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from inner.initializer


def _shape(spec: TensorSpec) -> list[Any]:
    return ["batch" if size < 0 else size for size in spec.shape]


def _dimensions(value: onnx.ValueInfoProto) -> list[int]:
    """Sizes, -1 where one is open."""
    tensor = value.type.tensor_type
    return [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]


def _join_inputs(foreign: _Foreign, inputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """A copy whose inputs are the workload's, feeding the file's own."""
    given = {value.name: value for value in foreign.inputs}
    before: list[onnx.NodeProto] = []
    if set(given) == {spec.name for spec in inputs}:
        for spec in inputs:
            _check_input(foreign, given[spec.name], spec.shape)
            before += _cast(spec.name, given[spec.name])
    elif len(given) == 1:
        (only,) = given.values()
        _check_input(foreign, only, (-1, width(inputs)))
        before += _flatten(inputs, only)
    else:
        expected = ", ".join(f"{spec.name}{list(spec.shape)}" for spec in inputs)
        raise foreign.refuse(
            f"its inputs are {', '.join(sorted(given)) or 'none'}; expected {expected}, or one "
            f"matrix [n, {width(inputs)}] of all of them flattened in this order"
        )
    model = compose.add_prefix(foreign.model, PREFIX)
    if foreign.opset is None:
        model.opset_import.append(helper.make_opsetid("", 17))
    own = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend([*before, *own])
    model.graph.input.extend(
        helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, _shape(spec)) for spec in inputs
    )
    return model


def _check_input(foreign: _Foreign, value: onnx.ValueInfoProto, expected: tuple[int, ...]) -> None:
    kind = value.type.tensor_type.elem_type
    if kind not in REALS:
        raise foreign.refuse(
            f"input {value.name!r} is {TensorProto.DataType.Name(kind)}, expected FLOAT: export "
            "it for floats, e.g. with FloatTensorType"
        )
    given = _dimensions(value)
    if given and given[0] >= 0:
        raise foreign.refuse(
            f"input {value.name!r} takes {given[0]} rows at a time, a variant takes any number: "
            "export it with a variable first dimension (None)"
        )
    if tuple(given[1:]) != tuple(expected[1:]):
        raise foreign.refuse(
            f"input {value.name!r} is {['n', *given[1:]]}, expected {['n', *expected[1:]]}: train "
            "and export it on the workload's inputs, see `flattened` in compression.graphs.foreign"
        )


def _cast(name: str, target: onnx.ValueInfoProto) -> list[onnx.NodeProto]:
    kind = target.type.tensor_type.elem_type
    return [helper.make_node("Cast", [name], [PREFIX + target.name], to=kind)]


def _flatten(inputs: Sequence[TensorSpec], target: onnx.ValueInfoProto) -> list[onnx.NodeProto]:
    flat = [f"flat_{spec.name}" for spec in inputs]
    return [
        *(helper.make_node("Flatten", [spec.name], [name], axis=1)
          for spec, name in zip(inputs, flat, strict=True)),
        helper.make_node("Concat", flat, ["flat"], axis=1),
        *_cast("flat", target),
    ]  # fmt: skip


def _outputs(
    model: onnx.ModelProto, example: Inputs, foreign: _Foreign
) -> dict[str, npt.NDArray[Any]]:
    """What comes out for the example rows: declared shapes are often missing or wrong."""
    try:
        session = open_session(model.SerializeToString())
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(example)), strict=True))
    except _REFUSALS as error:
        raise foreign.refuse(
            f"ONNX Runtime cannot run it: {str(error).strip()[:300]}; export it for standard "
            "operators of a version that it knows"
        ) from error


def _score_output(
    given: Mapping[str, npt.NDArray[Any]], foreign: _Foreign
) -> tuple[str, npt.NDArray[Any]]:
    reals = {name: array for name, array in given.items() if array.dtype.kind == "f"}
    if len(reals) != 1:
        names = ", ".join(f"{name.removeprefix(PREFIX)} {a.dtype}" for name, a in given.items())
        raise foreign.refuse(
            f"its outputs are {names}; expected one of floats, the score, with a label beside it "
            "or not: keep that one alone"
        )
    return next(iter(reals.items()))


def _score_nodes(
    name: str, array: npt.NDArray[Any], output: TensorSpec, foreign: _Foreign
) -> list[onnx.NodeProto]:
    """From what the file gives to the workload's output, for float32 scores."""
    expected, given = tuple(output.shape[1:]), array.shape[1:]
    cast = helper.make_node("Cast", ["chosen"], [output.name], to=TensorProto.FLOAT)
    if given == expected:
        return [helper.make_node("Identity", [name], ["chosen"]), cast]
    if expected == () and given in {(1,), (2,)}:
        column = helper.make_node(
            "Constant",
            [],
            ["column"],
            value=helper.make_tensor("column", TensorProto.INT64, [], [given[0] - 1]),
        )
        return [column, helper.make_node("Gather", [name, "column"], ["chosen"], axis=1), cast]
    raise foreign.refuse(
        f"output {name.removeprefix(PREFIX)!r} gives {['n', *given]} for n rows, expected "
        f"{['n', *expected]}"
        + (" (or [n, 1], or [n, 2] with the probability of class 1)" if expected == () else "")
        + ": export a model for this workload's labels"
    )
