"""`.pt2` archives: what may be in one before torch is allowed to open it.

`torch.export.load` runs what a stranger wrote, in more ways than its one warning says. In torch
2.13 it unpickles weights and constants marked `use_pickle`, script and opaque objects, sample
inputs and the two legacy layouts; it hands symbolic shapes to `sympy.sympify`, which evaluates
them; `.module()` executes `guards_code`; names of graph inputs become generated source; tree
specifications import modules by name; and an operator's name is walked down from `torch`.

So an archive is taken apart here, without torch, and every part must be of the plain kind that an
exported network consists of. What is not known to be harmless is refused. A server opens the
archive that `strip_sample_inputs` wrote from the parts that were looked at, never the file itself,
so that two readers of the zip format cannot disagree about what was in it.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from compression.store.errors import CorruptArtifactError

_MODEL = "models/model.json"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_FIXED = {
    _MODEL, _SAMPLE_INPUTS, *_PAYLOADS,
    "archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id",
}  # fmt: skip
_TENSOR = re.compile(r"data/(weights/weight|constants/tensor)_\d+")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"([A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*)?")
_SYMBOL = re.compile(r"[a-z]{1,3}\d+")
_NUMBER = re.compile(r"-?[0-9.]+(e[+-]?\d+)?")
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchao)\.[a-z0-9_]+\.[A-Za-z0-9_]+"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum)"
    r"|_operator\.(getitem|add|sub|mul|mod|neg|pow|floordiv|truediv|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(ceil|floor|trunc)"
)
_READS_FILES = "torch.ops.aten.from_file"
_SHAPE_FUNCTIONS = {
    "FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt",
    "FloorToInt", "CeilDiv", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv",
    "TruncToFloat", "TruncToInt", "RoundToInt", "ToFloat", "Identity", "Max", "Min",
    "Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Abs", "Eq", "Ne", "Ge", "Gt",
    "Le", "Lt", "Equality", "Unequality", "GreaterThan", "LessThan", "StrictGreaterThan",
    "StrictLessThan", "And", "Or", "Not",
}  # fmt: skip
_ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop,
    ast.boolop, ast.cmpop, ast.Load,
)  # fmt: skip
_TREE_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}


def check_program_archive(content: bytes) -> None:
    """Refuse a `.pt2` file that would run or unpickle anything when torch opens it.

    Raises:
        CorruptArtifactError: not an archive of plain tensors and a graph of known operators, or
            it still carries sample inputs (a pickle): see `strip_sample_inputs`.
    """
    parts = _parts(content)
    if parts.get(_SAMPLE_INPUTS):
        raise _refuse("it carries sample inputs, a pickle: save it through strip_sample_inputs()")
    _check(parts)


def strip_sample_inputs(content: bytes) -> bytes:
    """The same program without sample inputs and without stack traces, as a fresh archive.

    Sample inputs are a pickle, and torch's loader accepts an empty record in their place. Stack
    traces name the files of the machine that exported the program.

    Raises:
        CorruptArtifactError: see `check_program_archive`; what it refuses is refused here too.
    """
    parts = _parts(content)
    parts[_SAMPLE_INPUTS] = b""
    model = _json(parts, _MODEL)
    _visit(model, {"metadata": lambda value: value.clear() if isinstance(value, dict) else None})
    parts[_MODEL] = json.dumps(model).encode()
    _check(parts)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), part)
    return buffer.getvalue()


def _refuse(why: str) -> CorruptArtifactError:
    return CorruptArtifactError(f"exported program refused: {why}")


def _parts(content: bytes) -> dict[str, bytes]:
    """The archive's records by name below its one root folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise _refuse("it has compressed records, torch.export.save writes none")
            names = [entry.filename.partition("/")[2] for entry in entries]
            roots = {entry.filename.partition("/")[0] for entry in entries}
            if len(roots) != 1 or len({name.lower() for name in names}) != len(names):
                raise _refuse("its records are not unique names below one folder")
            parts = {name: archive.read(entry) for name, entry in zip(names, entries, strict=True)}
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        raise _refuse(f"not a zip archive: {error}") from error
    for name in parts:
        if name not in _FIXED and not _TENSOR.fullmatch(name):
            raise _refuse(f"unexpected record {name!r}")
    return parts


def _json(parts: Mapping[str, bytes], name: str) -> Any:
    if name not in parts:
        raise _refuse(f"record {name!r} is missing")
    try:
        return json.loads(parts[name])
    except ValueError as error:
        raise _refuse(f"record {name!r} is not JSON: {error}") from error


def _check(parts: Mapping[str, bytes]) -> None:
    if parts.get("archive_format") != b"pt2":
        raise _refuse("record 'archive_format' does not say pt2")
    try:
        for name in _PAYLOADS:
            _check_payloads(name, _json(parts, name))
        _visit(_json(parts, _MODEL), _CHECKS)
    except (TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
        raise _refuse(f"not the structure that torch.export.save writes: {error}") from error


def _check_payloads(name: str, config: Any) -> None:
    folder = name.rpartition("/")[0]
    for key, payload in config["config"].items():
        if payload.get("use_pickle") is not False:
            raise _refuse(f"{key!r} in {name} is a pickle")
        if not _TENSOR.fullmatch(f"{folder}/{payload['path_name']}"):
            raise _refuse(f"{key!r} in {name} is {payload['path_name']!r}, not a plain tensor")


def _visit(node: Any, visitors: Mapping[str, Callable[[Any], object]]) -> None:
    """Walk a JSON document; where a key has a visitor, show it the value."""
    if isinstance(node, list):
        for item in node:
            _visit(item, visitors)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in visitors:
                visitors[key](value)
            _visit(value, visitors)


def _check_operator(target: Any) -> None:
    if not _OPERATOR.fullmatch(target) or target.startswith(_READS_FILES):
        raise _refuse(f"operator {target!r} is not one of a plain network")


def _check_identifier(name: Any) -> None:
    """Names become variables of generated source. Empty: the argument is positional."""
    if isinstance(name, str) and name and not _IDENTIFIER.fullmatch(name):
        raise _refuse(f"{name[:80]!r} is not an identifier")


def _check_identifiers(names: Any) -> None:
    for name in names or ():
        _check_identifier(name)


def _check_dotted(name: Any) -> None:
    if isinstance(name, str) and not _DOTTED.fullmatch(name):
        raise _refuse(f"{name[:80]!r} is not the name of a parameter or module")


def _check_expression(text: Any) -> None:
    for node in _nodes(text):
        known = isinstance(node, _ARITHMETIC) or _is_number(node)
        if isinstance(node, ast.Name):
            known = bool(_SYMBOL.fullmatch(node.id)) or node.id in _SHAPE_FUNCTIONS
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Symbol('s23', positive=True), Float('0.5', precision=53)
            known = bool(_SYMBOL.fullmatch(node.value) or _NUMBER.fullmatch(node.value))
        elif isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name)
        elif isinstance(node, ast.keyword):
            known = isinstance(node.value, ast.Constant)
        if not known:
            raise _refuse(f"shape expression {text[:80]!r} is more than arithmetic")


def _check_guards(guards: Any) -> None:
    """Guards compare sizes of inputs: `L['history'].size()[0] == 4`."""
    for text in guards:
        for node in _nodes(text):
            known = isinstance(node, (*_ARITHMETIC, ast.Subscript)) or _is_number(node)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                known = bool(_IDENTIFIER.fullmatch(node.value))
            elif isinstance(node, ast.Name):
                known = node.id == "L"
            elif isinstance(node, ast.Attribute):
                known = node.attr in {"size", "stride", "storage_offset"}
            elif isinstance(node, ast.Call):
                known = isinstance(node.func, ast.Attribute) and not (node.args or node.keywords)
            if not known:
                raise _refuse(f"guard {text[:80]!r} is more than a comparison of sizes")


def _nodes(text: Any) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, TypeError, MemoryError) as error:
        raise _refuse(f"{str(text)[:80]!r} is not an expression") from error


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _check_tree(text: Any) -> None:
    """Trees of arguments: tuples, lists and dicts. Other kinds import a module by its name."""
    if not text:
        return
    document = json.loads(text)

    def kind(value: Any) -> None:
        if value not in _TREE_TYPES:
            raise _refuse(f"arguments are of type {value!r}")

    def context(value: Any) -> None:
        keys = None if value is None else json.loads(value)
        if keys is not None and not all(isinstance(key, str) for key in keys):
            raise _refuse(f"arguments carry more than their names: {value[:80]!r}")

    _visit(document, {"type": kind, "context": context})


def _must_be_empty(value: Any) -> None:
    if value:
        raise _refuse(f"it carries objects other than tensors: {str(value)[:80]!r}")


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "target": _check_operator,
    "as_operator": _check_operator,
    "expr_str": _check_expression,
    "guards_code": _check_guards,
    "name": _check_identifier,
    "as_name": _check_identifier,
    "forward_arg_names": _check_identifiers,
    "parameter_name": _check_dotted,
    "buffer_name": _check_dotted,
    "tensor_constant_name": _check_dotted,
    "fqn": _check_dotted,
    "in_spec": _check_tree,
    "out_spec": _check_tree,
    "as_custom_obj": _must_be_empty,
    "as_string_to_argument": _must_be_empty,
    "custom_obj_values": _must_be_empty,
    "treespec_namedtuple_fields": _must_be_empty,
    "stack_trace": _must_be_empty,
}
