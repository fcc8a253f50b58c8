"""Whatever comes in that our OpenAPI document allows, or nearly: no 5xx, and answers as it says."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from compression.store import ModelStore
from serve_app.backends.inline import InlineBackend
from serve_app.config import VariantConfig
from serve_app.openapi.operations import VARIANTS as VARIANT_CHANGES
from serve_app.openapi.operations import VERSION, Operation, operations
from serve_app.runners import load_variant
from tests.serve_app.gateway.fakes import TOKEN, VARIANTS, Gateway
from tests.support.store import CHAMPION, MODEL

EXAMPLES = 30
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TABLE = {
    "version": 2, "model": MODEL, "experiment": "default", "salt": "s", "weights": {CHAMPION: 1.0},
    "shadow": None,
}  # fmt: skip
MORE_THAN_A_SCHEMA_SAYS = {"InferRequest", "TableChange"}
"""`data` has as many numbers as `shape` wants, all weights sum to one: such bodies may be refused
although the schema has nothing against them."""

NOT_OFFERED = 501
"""The one 5xx that a request may earn, where the document says so, ..."""
OVERFLOW = "answered a score that is not finite"
"""... but for inputs of 1e38, which a model may make infinity of."""

load_all_checks()


@pytest.fixture(scope="module")
def api(store_uri: str) -> Any:
    """Our document, read from a gateway over the tiny store's real variants."""
    gateway = Gateway(store=store_uri, max_body_bytes=1 << 20)
    gateway.route({CHAMPION: 0.5, "close": 0.5})
    gateway.control.reply = {"outcome": "changed", "table": TABLE}
    store = ModelStore(store_uri)
    gateway.predictor.backends = {
        name: InlineBackend(load_variant(store, MODEL, name, 1), VariantConfig(name=name))
        for name in VARIANTS
    }
    return schemathesis.openapi.from_asgi("/openapi.json", gateway.app)


def _modes(operation: Operation) -> list[GenerationMode]:
    """What asks for nothing cannot be asked wrongly."""
    any_name = operation.tag == VARIANT_CHANGES and operation.request is None
    named = VERSION in operation.path and not any_name
    takes = operation.request is not None or operation.routed or named
    return list(GenerationMode) if takes else [GenerationMode.POSITIVE]


CASES = [
    pytest.param(operation, mode, id=f"{operation.method} {operation.path} {mode.value}")
    for operation in operations(MODEL)
    for mode in _modes(operation)
]


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_answers_are_as_documented(api: Any, operation: Operation, mode: GenerationMode) -> None:
    target = api[operation.path][operation.method.upper()]
    more = operation.request in MORE_THAN_A_SCHEMA_SAYS

    @given(case=target.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def holds(case: schemathesis.Case[Any]) -> None:
        answer = case.call(headers=BEARER)
        excluded: list[Any] = [positive_data_acceptance] if more else []
        status = answer.status_code
        if status in operation.errors and (status == NOT_OFFERED or OVERFLOW in answer.text):
            excluded.append(not_a_server_error)
        case.validate_response(answer, excluded_checks=excluded)

    holds()
