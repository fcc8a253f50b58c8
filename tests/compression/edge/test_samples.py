from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from compression.edge.samples import edge_samples
from compression.errors import ExportError
from compression.store import Decision

DECISION = Decision(output="score", threshold=0.5)


def _requests(inputs: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> Any:
    content = edge_samples([{"x": inputs}], [{"score": outputs}], DECISION)
    document = json.loads(content)
    assert document["schema_version"] == 1
    return document["requests"]


def _score(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


@given(arrays(np.float32, (1, 3), elements={"allow_nan": False, "allow_infinity": False}))
def test_floats_come_back_bit_for_bit(values: npt.NDArray[np.float32]) -> None:
    (request,) = _requests(values, _score(0.1))
    found = np.array(request["inputs"]["x"], np.float32)
    np.testing.assert_array_equal(found.view(np.int32), values.ravel().view(np.int32))


def test_values_are_flat_in_row_major_order() -> None:
    (request,) = _requests(np.arange(6).reshape(1, 2, 3), _score(0.5))
    assert request == {
        "inputs": {"x": [0, 1, 2, 3, 4, 5]},
        "outputs": {"score": [0.5]},
        "alert": True,
    }


@pytest.mark.parametrize(("score", "alert"), [(0.4999, False), (0.5, True), (0.9, True)])
def test_the_decision_is_made_at_the_threshold(score: float, alert: bool) -> None:
    (request,) = _requests(_score(1.0), _score(score))
    assert request["alert"] is alert


def test_several_values_make_no_single_decision() -> None:
    (request,) = _requests(_score(1.0), np.array([[0.2, 0.8]], np.float32))
    assert request["alert"] is None
    assert len(request["outputs"]["score"]) == 2


def test_booleans_stay_booleans() -> None:
    (request,) = _requests(np.array([[True, False]]), _score(0.1))
    assert request["inputs"]["x"] == [True, False]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.nan]),
        np.array([np.inf]),
        np.array([2**53 + 2]),
        np.array([-(2**63)]),
        np.array([2**64 - 1], np.uint64),
    ],
)
def test_what_json_cannot_hold_is_refused(values: npt.NDArray[Any]) -> None:
    with pytest.raises(ExportError, match=r"a sample's 'x' holds .*, which JSON cannot"):
        _requests(values, _score(0.1))
