"""JSON Schemas of what this model takes and answers, by name, as OpenAPI's components.

Those of rows and tensors are made from the model's signature; those of documents that are pydantic
models from these models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic.json_schema import models_json_schema

from compression.store import ModelDocument, TensorSpec
from serve_app.metrics import WHYS
from serve_app.protocol.layouts import DTYPES, FLOATS
from serve_app.protocol.rows import ROWS, VARIANT, fields_are_the_rows, key_field
from serve_app.protocol.scores import decided_output
from serve_app.routing.table import RoutingTable, TableChange

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TRUTH: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
_OPTIONAL_TEXT: Schema = {"type": ["string", "null"]}
_PARAMETERS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_REF = "#/components/schemas/"


def ref(name: str) -> Schema:
    """A reference to the component of that name."""
    return {"$ref": _REF + name}


def array(items: Schema, **more: Any) -> Schema:
    """An array of such items."""
    return {"type": "array", "items": items, **more}


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these fields, and no others."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _open(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these fields; others are passed over, as the protocol wants."""
    schema = record(required, optional)
    del schema["additionalProperties"]
    return schema


def make_schemas(document: ModelDocument, variants: Sequence[str], max_rows: int) -> Schema:
    """All components for a model served in these variants."""
    return {
        "Error": {**_open({"error": TEXT}), "description": "What was expected, what was given."},
        "Live": _open({"live": TRUTH}),
        "Ready": _open({"ready": TRUTH}),
        "ModelReady": _open({"name": TEXT, "ready": TRUTH}),
        "Index": _open({"name": TEXT, "version": TEXT, "model": TEXT}),
        "Server": _open({"name": TEXT, "version": TEXT, "extensions": array(TEXT)}),
        "Tensor": _open({"name": TEXT, "datatype": TEXT, "shape": array(WHOLE)}),
        "Model": _open(
            {
                "name": {"const": document.name},
                "versions": array(TEXT),
                "platform": TEXT,
                "inputs": array(ref("Tensor")),
                "outputs": array(ref("Tensor")),
                "parameters": {"type": "object"},
            }
        ),
        **_score_schemas(document, variants, max_rows),
        **_infer_schemas(document),
        **_extension_schemas(document),
        **_table_schemas(),
        **_variant_schemas(),
    }


def _variant_schemas() -> Schema:
    variant = _open({"name": TEXT, "state": TEXT}, {"ready": TRUTH, "placement": TEXT})
    return {
        "Variant": variant,
        "Variants": _open({"version": WHOLE, "variants": array(ref("Variant"))}),
        "VariantOptions": {
            "type": "object", "description": "Keys of the variant's configuration to change.",
        },
        "VariantChange": _open(
            {"name": TEXT, "version": {**WHOLE, "description": "Of the catalogue."}}
        ),
    }  # fmt: skip


def _extension_schemas(document: ModelDocument) -> Schema:
    model = {"const": document.name}
    entry = _open({"name": model, "version": TEXT, "state": TEXT, "reason": TEXT})
    counts = dict.fromkeys(("last_inference", "inference_count", "execution_count"), WHOLE)
    times = {"inference_stats": {"type": "object"}, "batch_stats": array({"type": "object"})}
    stats = _open({"name": model, "version": TEXT, **counts, **times})
    return {
        "Config": _open(
            {
                "name": model,
                "platform": TEXT,
                "max_batch_size": WHOLE,
                "input": array({"type": "object"}),
                "output": array({"type": "object"}),
            }
        ),
        "Stats": _open({"model_stats": array(stats)}),
        "RepositoryIndex": array(entry),
        "IndexRequest": _open({}, {"ready": TRUTH}),
        "LoadRequest": _open({}, {"parameters": {"type": "object"}}),
    }


def _score_schemas(document: ModelDocument, variants: Sequence[str], max_rows: int) -> Schema:
    inputs = document.inputs
    optional: dict[str, Schema] = {
        VARIANT: {
            "enum": [*variants, None],
            "description": "Pins: this variant answers, whatever the routing table says.",
        }
    }
    if (key := key_field(document)) is not None:
        optional[key] = {
            "type": ["string", "integer", "null"],
            "description": "Routing key: whoever has the same stays with a variant.",
        }
    rows = array(ref("Row"), minItems=1, maxItems=max_rows)
    return {
        "Row": _one_row(inputs[0]) if len(inputs) == 1 else record(_values(inputs)),
        "ScoreRequest": record({ROWS: rows}, optional),
        "RowScore": _row_score(document),
        "ScoreAnswer": _open(
            {"model": TEXT, "experiment": TEXT, ROWS: array(ref("RowScore"), minItems=1)}
        ),
    }


def _values(inputs: Iterable[TensorSpec]) -> dict[str, Schema]:
    return {spec.name: _value(spec) for spec in inputs}


def _one_row(spec: TensorSpec) -> Schema:
    if fields_are_the_rows((spec,)):
        return _value(spec)
    return {"anyOf": [record(_values((spec,))), _value(spec)]}


def _value(spec: TensorSpec) -> Schema:
    """One row's value of an input."""
    schema = element(spec.datatype)
    for axis, size in reversed(list(enumerate(spec.shape[1:]))):
        fixed = {"minItems": size, "maxItems": size} if size >= 0 else {"minItems": 1}
        last, schema = schema, array(schema, **fixed)
        if axis == len(spec.shape) - 2 and spec.features is not None:
            schema = {"anyOf": [record(dict.fromkeys(spec.features, last)), schema]}
    return schema


def element(datatype: str) -> Schema:
    """One number, truth value or text of a datatype."""
    if datatype in FLOATS:
        limit = float(np.finfo(np.dtype(DTYPES[datatype])).max)
        return {**NUMBER, "minimum": -limit, "maximum": limit}
    if datatype in ("BOOL", "BYTES"):
        return TRUTH if datatype == "BOOL" else TEXT
    limits = np.iinfo(np.dtype(DTYPES[datatype]))
    return {**WHOLE, "minimum": int(limits.min), "maximum": int(limits.max)}


def _row_score(document: ModelDocument) -> Schema:
    output = decided_output(document)
    score, decision = NUMBER, TRUTH
    for _ in output.shape[1:]:
        score, decision = array(score), {"type": "null"}
    if output.features is not None:
        score = record(dict.fromkeys(output.features, NUMBER))
    return _open(
        {
            "score": {**score, "description": f"The model's output {output.name!r}."},
            "decision": {
                **decision, "description": "Whether score is at least the variant's threshold.",
            },
            "variant": {**TEXT, "description": "Who answered."},
            "why": {"enum": list(WHYS), "description": "Why this variant."},
            "table_version": {**WHOLE, "description": "Version of the routing table in force."},
        },
        {"failed_variant": {**TEXT, "description": "Who should have answered, and failed."}},
    )  # fmt: skip


def _infer_schemas(document: ModelDocument) -> Schema:
    tensors = [_input_tensor(spec) for spec in document.inputs]
    outputs = _open(
        {"name": {"enum": [spec.name for spec in document.outputs]}}, {"parameters": _PARAMETERS}
    )
    return {
        "InferRequest": _open(
            {"inputs": array({"anyOf": tensors}, minItems=len(tensors), maxItems=len(tensors))},
            {
                "id": _OPTIONAL_TEXT,
                "parameters": _PARAMETERS,
                "outputs": {"anyOf": [array(outputs), {"type": "null"}]},
            },
        ),
        "InferAnswer": _open(
            {
                "model_name": TEXT,
                "model_version": {**TEXT, "description": "The variant that answered."},
                "outputs": array(
                    _open(
                        {"name": TEXT, "datatype": TEXT, "shape": array(WHOLE), "data": array({})}
                    )
                ),
                "parameters": _open({VARIANT: TEXT, "why": TEXT, "table_version": WHOLE}),
            },
            {"id": TEXT},
        ),
    }


def _input_tensor(spec: TensorSpec) -> Schema:
    wanted = [{"minimum": 1} if size < 0 else {"const": size} for size in spec.shape]
    return _open(
        {
            "name": {"const": spec.name},
            "shape": array(
                WHOLE,
                prefixItems=[{**WHOLE, **size} for size in wanted],
                minItems=len(wanted),
                maxItems=len(wanted),
            ),
            "datatype": {"const": spec.datatype},
            "data": {"type": "array", "description": "Flat or nested like shape, row-major."},
        },
        {"parameters": _PARAMETERS},
    )


def _table_schemas() -> Schema:
    _, documents = models_json_schema(
        [(TableChange, "validation"), (RoutingTable, "serialization")],
        ref_template=_REF + "{model}",
    )
    found: Schema = documents["$defs"]
    return found
