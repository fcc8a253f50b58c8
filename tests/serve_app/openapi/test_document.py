from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from jsonschema_rs import meta, validator_for

from compression.store import ModelDocument, TensorSpec
from serve_app.openapi.document import make_document as make_openapi
from serve_app.openapi.example import Example
from serve_app.openapi.operations import VERSION, operations
from serve_app.protocol.codec import Codec
from serve_app.protocol.rows import RowsReader
from tests.serve_app.gateway.fakes import VARIANTS, Gateway, example
from tests.support.store import CHAMPION, MODEL, make_document, make_manifest

MANIFESTS = {name: make_manifest(name, b"", [0.25]) for name in VARIANTS}


def spec(*shape: int, name: str = "x", features: tuple[str, ...] | None = None) -> TensorSpec:
    return TensorSpec(name=name, datatype="FP32", shape=(-1, *shape), features=features)


def model(*inputs: TensorSpec, output: TensorSpec | None = None) -> ModelDocument:
    outputs = (output or spec(name="score"),)
    return make_document().model_copy(update={"inputs": inputs, "outputs": outputs})


SIGNATURES = [
    make_document(),
    model(spec(2, features=("age", "income"))),
    model(spec(2)),
    model(spec()),
    model(spec(1, 3, 3), spec(1, 3, 3, name="y")),
    model(spec(2, 2, features=("a", "b")), output=spec(2, name="score", features=("no", "yes"))),
    model(spec(2), output=spec(4, name="score")),
]


def drawn(document: ModelDocument) -> Example:
    generator = np.random.default_rng(3)
    inputs = {
        tensor.name: generator.normal(size=(1, *tensor.shape[1:])).astype(np.float32)
        for tensor in document.inputs
    }
    return Example(inputs, "c1")


def schema_of(openapi: dict[str, Any], name: str) -> Any:
    return validator_for(
        {"$ref": f"#/components/schemas/{name}", "components": openapi["components"]}
    )


def test_it_describes_every_route_of_the_gateway_and_no_other() -> None:
    app = Gateway().app
    variant = f"/admin/v1/models/{MODEL}/variants/{VERSION}"
    routed = {
        (re.sub("/versions/[^/]+", f"/versions/{VERSION}", path), method.lower())
        for path, methods in {**app.routes, variant: app.variants.route(variant) or {}}.items()
        for method in methods
    }
    described = [(operation.path, operation.method) for operation in operations(MODEL)]
    assert sorted(described) == sorted(routed)


def test_it_is_openapi_with_sound_schemas_and_references() -> None:
    openapi = make_openapi(make_document(), MANIFESTS, 8, example())
    assert openapi["openapi"].startswith("3.1")
    schemas = openapi["components"]["schemas"]
    for name, schema in schemas.items():
        assert meta.is_valid(schema), name
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(openapi)))
    assert referred <= set(schemas)
    names = [o["operationId"] for methods in openapi["paths"].values() for o in methods.values()]
    assert len(set(names)) == len(names) == len(operations(MODEL))


@pytest.mark.parametrize("document", SIGNATURES, ids=str)
def test_examples_are_valid_and_read_back_as_the_sample(document: ModelDocument) -> None:
    sample = drawn(document)
    openapi = make_openapi(document, MANIFESTS, 8, sample)
    score, infer = sample.score_request(document), sample.infer_request(document)
    schema_of(openapi, "ScoreRequest").validate(score)
    schema_of(openapi, "InferRequest").validate(infer)
    asked = RowsReader(document, 8).read(json.dumps(score).encode())
    for decoded in (asked.decoded, Codec(document, 8).decode(json.dumps(infer).encode())):
        assert decoded.key == "c1"
        for name, array in sample.inputs.items():
            np.testing.assert_array_equal(decoded.inputs[name], array)
    answer = sample.score_answer(document, MANIFESTS[CHAMPION])
    if answer is not None:
        schema_of(openapi, "ScoreAnswer").validate(answer)


@pytest.mark.parametrize(
    "row", [{}, [1], [1, 2, 3], {"age": 1}, {"age": 1, "income": "2"}, [1, 1e39]]
)
def test_the_schema_refuses_what_the_reader_refuses(row: Any) -> None:
    document = SIGNATURES[1]
    openapi = make_openapi(document, MANIFESTS, 8, drawn(document))
    assert not schema_of(openapi, "ScoreRequest").is_valid({"rows": [row]})
    assert schema_of(openapi, "ScoreRequest").is_valid({"rows": [[1, 2]]})
