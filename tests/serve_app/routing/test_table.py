from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from serve_app.errors import InvalidTableError
from serve_app.routing.table import RoutingTable, TableDraft, check_variants, parse_change

SERVED = ("original", "b", "failed")
WEIGHTABLE = ("original", "b")


def test_a_table_is_frozen() -> None:
    table = RoutingTable(version=1, model="fraud", weights={"original": 1.0})
    with pytest.raises(ValidationError, match="frozen"):
        table.version = 2


def test_what_get_answers_can_be_put_back() -> None:
    table = RoutingTable(version=3, model="fraud", weights={"original": 0.5, "b": 0.5})
    body = {**table.model_dump(mode="json"), "replaces": 3}
    change = parse_change(json.dumps(body).encode(), "fraud")
    assert change.replaces == 3
    assert change.draft() == TableDraft(weights=table.weights)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"weights": {"original": 1}}', "replaces: Field required"),
        (b'{"replaces": 1, "weights": {"original": 0.5}}', "sum to 0.5, expected 1"),
        (b'{"replaces": 1, "weights": {}}', "sum to 0"),
        (b'{"replaces": 1, "weights": {"a": 1.5, "b": -0.5}}', "weights.b"),
        (b'{"replaces": 1, "weights": {"a": NaN}}', "weights.a|Invalid JSON"),
        (b'{"replaces": 1, "weights": {"original": 1}, "wieghts": 1}', "wieghts: Extra inputs"),
        (b'{"replaces": 1, "model": "other", "weights": {"original": 1}}', "expected 'fraud'"),
        (b'{"replaces": 1, "weights": {"../x": 1}}', "is not a name"),
        (
            b'{"replaces": 1, "weights": {"b": 1}, "shadow": {"variant": "b", "sample_rate": 2}}',
            "shadow.sample_rate",
        ),
    ],
)
def test_bad_changes_name_the_key(body: bytes, message: str) -> None:
    with pytest.raises(InvalidTableError, match=message):
        parse_change(body, "fraud")


def test_weights_may_be_off_by_a_rounding_error() -> None:
    TableDraft(weights={"original": 0.3333333, "b": 0.6666667})


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        ({"weights": {"nobody": 1.0}}, r"\['nobody'\] are not served"),
        (
            {"weights": {"b": 1.0}, "shadow": {"variant": "nobody", "sample_rate": 1}},
            r"\['nobody'\] are not served",
        ),
        ({"weights": {"original": 0.9, "failed": 0.1}}, "failed the quality gate"),
    ],
)
def test_variants_must_be_served_and_have_passed(draft: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidTableError, match=message):
        check_variants(TableDraft.model_validate(draft), SERVED, WEIGHTABLE)


def test_a_failed_variant_may_be_shadowed_and_have_weight_zero() -> None:
    draft = TableDraft.model_validate(
        {
            "weights": {"original": 1.0, "failed": 0.0},
            "shadow": {"variant": "failed", "sample_rate": 1.0},
        }
    )
    check_variants(draft, SERVED, WEIGHTABLE)
