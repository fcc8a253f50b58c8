from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.store import ModelDocument, TensorSpec
from serve_app.errors import (
    InvalidInputError,
    MalformedRequestError,
    RequestError,
    TooManyRowsError,
)
from serve_app.protocol.fields import by_name
from serve_app.protocol.rows import RowsReader
from tests.support.store import TRANSACTION, make_document, make_samples, score_body

READER = RowsReader(make_document(), max_rows=8)


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def reader(*inputs: TensorSpec, **changes: Any) -> RowsReader:
    document = make_document().model_copy(update={"inputs": inputs, **changes})
    return RowsReader(document, max_rows=8)


def spec(
    *shape: int, name: str = "x", datatype: str = "FP32", features: tuple[str, ...] | None = None
) -> TensorSpec:
    fields = {"name": name, "datatype": datatype, "shape": (-1, *shape), "features": features}
    return TensorSpec.model_validate(fields)


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """The same rows with arrays instead of named fields."""
    rows = [
        {
            "transaction": list(row["transaction"].values()),
            "history": [list(step.values()) for step in row["history"]],
        }
        for row in body["rows"]
    ]
    return {**body, "rows": rows}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("form", [dict, plain])
def test_rows_become_the_models_arrays(rows: int, form: Any) -> None:
    asked = READER.read(encoded(form(score_body(rows))))
    assert asked.decoded.rows == rows
    for name, array in make_samples().rows(0, rows).items():
        assert asked.decoded.inputs[name].dtype == np.float32
        np.testing.assert_array_equal(asked.decoded.inputs[name], array)


def test_the_order_of_named_fields_does_not_matter_and_forms_may_be_mixed() -> None:
    body, other = score_body(2), plain(score_body(2))
    row = body["rows"][0]
    row["transaction"] = dict(reversed(row["transaction"].items()))
    row["history"][1] = other["rows"][0]["history"][1]
    body["rows"][1]["transaction"] = other["rows"][1]["transaction"]
    decoded = READER.read(encoded(body)).decoded
    for name, array in make_samples().rows(0, 2).items():
        np.testing.assert_array_equal(decoded.inputs[name], array)


def test_key_and_pin_are_read() -> None:
    asked = READER.read(encoded(score_body(customer_id=17, variant="close")), key="header")
    assert (asked.decoded.key, asked.pin) == ("17", "close")
    asked = READER.read(encoded(score_body()), key="header")
    assert (asked.decoded.key, asked.pin) == ("header", None)


def test_a_routing_key_called_like_a_field_of_ours_comes_by_header_only() -> None:
    read = reader(spec(2), routing_key="rows").read
    assert read(b'{"rows": [[1, 2]]}', key="header").decoded.key == "header"


@pytest.mark.parametrize("row", [{"age": 31, "income": 2.5}, {"income": 2.5, "age": 31}, [31, 2.5]])
def test_the_fields_of_an_only_input_are_the_rows(row: Any) -> None:
    decoded = (
        reader(spec(2, features=("age", "income"))).read(encoded({"rows": [row, row]})).decoded
    )
    assert decoded.inputs["x"].tolist() == [[31, 2.5]] * 2


@pytest.mark.parametrize(
    ("given", "row", "array"),
    [
        (spec(), 2.5, [2.5]),
        (spec(), {"x": 2.5}, [2.5]),
        (spec(2), [1, 2], [[1, 2]]),
        (spec(2), {"x": [1, 2]}, [[1, 2]]),
        (spec(2, 1), [[1], [2]], [[[1], [2]]]),
        (spec(2, 1, features=("a",)), [{"a": 1}, [2]], [[[1], [2]]]),
        (spec(2, 1, features=("a",)), {"x": [{"a": 1}, [2]]}, [[[1], [2]]]),
        (spec(-1, 1, features=("a",)), [{"a": 1}, [2], [3]], [[[1], [2], [3]]]),
        (spec(2, datatype="INT8"), [-128, 127], [[-128, 127]]),
        (spec(1, datatype="UINT64"), [2**64 - 1], [[2**64 - 1]]),
        (spec(2, datatype="BOOL"), [True, False], [[True, False]]),
        (spec(1, datatype="BYTES"), ["é"], [["é"]]),
    ],
)
def test_inputs_of_any_shape_and_datatype(given: TensorSpec, row: Any, array: Any) -> None:
    decoded = reader(given).read(encoded({"rows": [row]})).decoded
    assert decoded.inputs["x"].tolist() == array


def changed(**changes: Any) -> dict[str, Any]:
    """Two rows; the changes are made in the second."""
    body = score_body(2)
    body["rows"][1] |= changes
    return body


def transaction(**changes: Any) -> dict[str, Any]:
    return changed(transaction=score_body(1)["rows"][0]["transaction"] | changes)


def history(step: Any) -> dict[str, Any]:
    return changed(history=[[1, 2], step, [1, 2]])


WITHOUT_RISK = {name: 1 for name in TRANSACTION if name != "risk"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"rows": []}, "rows: expected at least one row, given none"),
        ({}, "field 'rows' is missing"),
        ([], "expected object, given array"),
        ({"rows": "x"}, "rows: expected array, given str"),
        ({"rows": [5]}, "row 0: expected object, given int"),
        (score_body(client=1), "field 'client' is unknown, expected rows, variant, customer_id"),
        (score_body(customer=1), "field 'customer' is unknown; did you mean 'customer_id'?"),
        (score_body(customer_id=[1]), "customer_id: expected int | str | null, given array"),
        (changed(score=1), "row 1: field 'score' is unknown, expected transaction, history"),
        (changed(transaction=7), "row 1: transaction: expected object | array, given int"),
        (changed(transaction=[1, 2, 3]), "row 1: transaction: expected array of length 4, given 3"),
        (changed(transaction=WITHOUT_RISK), "row 1: transaction: field 'risk' is missing"),
        (
            transaction(amont=1),
            "row 1: transaction: field 'amont' is unknown; did you mean 'amount'? "
            "expected amount, night, risk, distance",
        ),
        (transaction(amount="9"), "row 1: transaction.amount: expected float, given str"),
        (transaction(amount=None), "row 1: transaction.amount: expected float, given null"),
        (transaction(amount=True), "row 1: transaction.amount: expected float, given bool"),
        (
            transaction(amount=-1e39),
            "row 1: transaction.amount: expected FP32, given -1e+39, which is beyond its range",
        ),
        (changed(history=[[1, 2]]), "row 1: history: expected array of length 3, given 1"),
        (history([1]), "row 1: history[1]: expected array of length 2, given 1"),
        (history([1, [2]]), "row 1: history[1][1]: expected float, given array"),
        (history({"amount": 1}), "row 1: history[1]: field 'hours_before' is missing"),
        (history([1, 1e39]), "row 1: history[1].hours_before: expected FP32, given 1e+39"),
    ],
)
def test_a_message_names_row_field_expected_and_given(body: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        READER.read(encoded(body))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("given", "row", "message"),
    [
        (spec(2, features=("a", "b")), {"a": 1}, "row 0: field 'b' is missing"),
        (spec(2, features=("a", "b")), {"a": 1, "b": 1e39}, "row 0: b: expected FP32, given 1e+39"),
        (spec(1, features=("a.b",)), {"a.b": []}, "row 0: a.b: expected float, given array"),
        (spec(2), [1, 1e39], "row 0: x[1]: expected FP32, given 1e+39"),
        (spec(2, datatype="INT8"), [1, 128], "row 0: x[1]: expected INT8, given 128"),
        (spec(2, datatype="UINT8"), [-1, 0], "row 0: x[0]: expected UINT8, given -1"),
        (spec(1, datatype="INT64"), [1.5], "row 0: [0]: expected int, given float"),
        (spec(1, datatype="FP16"), [7e4], "row 0: x[0]: expected FP16, given 70000"),
        (spec(-1), [], "rows: x: dimension 1 must have the same length, at least 1"),
        (spec(-1, 1), [[1, 2]], "row 0: [0]: expected array of length 1, given 2"),
    ],
)
def test_messages_of_other_signatures(given: TensorSpec, row: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        reader(given).read(encoded({"rows": [row]}))
    assert message in str(raised.value)


def test_rows_of_unequal_length_are_told() -> None:
    with pytest.raises(InvalidInputError, match=r"dimension 1 .* in all rows .* given 1, 2"):
        reader(spec(-1)).read(b'{"rows": [[1], [1, 2]]}')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"rows": [NaN]}', "not JSON"),
        (b'{"customer_id": "\xff"}', "not UTF-8"),
        (b'{"rows": [{"transaction": {"\xff": 1}}]}', "not UTF-8"),
    ],
)
def test_what_is_not_json(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequestError, match=message):
        READER.read(body)


def test_too_many_rows() -> None:
    with pytest.raises(TooManyRowsError, match="9 rows given, at most 8 are expected"):
        READER.read(encoded(score_body(9)))


def test_what_follows_a_mistake_need_not_be_json() -> None:
    with pytest.raises(InvalidInputError, match=r"transaction: expected array of length 4$"):
        READER.read(b'{"rows": [{"transaction": [1, 2, 3], "history": \xff')


@given(st.data())
def test_a_damaged_body_is_refused_or_read_but_never_breaks_the_reader(data: st.DataObject) -> None:
    body = bytearray(encoded(score_body(2, customer_id="c1")))
    start = data.draw(st.integers(0, len(body)))
    stop = data.draw(st.integers(start, min(len(body), start + 40)))
    body[start:stop] = data.draw(
        st.one_of(st.binary(max_size=20), st.sampled_from([b"[" * 5000, b'{"a":' * 5000, b"1e999"]))
    )
    with contextlib.suppress(RequestError):
        decoded = READER.read(bytes(body)).decoded
        assert all(np.isfinite(array).all() for array in decoded.inputs.values())


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_numbers_are_read_as_numpy_would(values: list[float]) -> None:
    read = reader(spec(4, features=("a", "b", "c", "d"))).read
    with np.errstate(over="ignore"):
        expected = np.array([values], np.float32)
    body = encoded({"rows": [by_name("abcd", values)]})
    if np.isfinite(expected).all():
        np.testing.assert_array_equal(read(body).decoded.inputs["x"], expected)
    else:
        with pytest.raises(InvalidInputError, match="beyond its range"):
            read(body)


def test_a_document_without_names_of_features_takes_arrays() -> None:
    old = make_document().model_dump(mode="json")
    for tensor in old["inputs"]:
        del tensor["features"]
    read = RowsReader(ModelDocument.model_validate(old), max_rows=8).read
    assert read(encoded(plain(score_body(2)))).decoded.rows == 2
    with pytest.raises(InvalidInputError, match="row 0: transaction: expected array, given object"):
        read(encoded(score_body(2)))
