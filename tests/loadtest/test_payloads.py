import json
from pathlib import Path

import numpy as np
import pytest

from loadtest.errors import OptionError
from loadtest.payloads import bodies, body, flat, infer_path
from loadtest.store import Store


def test_a_body_is_the_protocols_and_holds_the_stores_rows(store: Path) -> None:
    opened = Store(str(store), "fraud")
    samples = opened.samples()
    document = json.loads(body(opened.model, samples, 3, 2))
    assert document["parameters"] == {"customer_id": "customer-3"}
    (tensor,) = document["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("features", "FP32", [2, 4])
    sent = np.asarray(tensor["data"], dtype=np.float32).reshape(2, 4)
    assert np.array_equal(sent, samples.inputs["features"][3:5])


def test_rows_wrap_around(store: Path) -> None:
    opened = Store(str(store), "fraud")
    tensor = json.loads(body(opened.model, opened.samples(), 199, 3))["inputs"][0]
    assert tensor["shape"] == [3, 4]


def test_floats_are_written_short() -> None:
    assert flat(np.array([0.1, 1e-8], dtype=np.float32)) == [0.1, 1e-8]
    assert flat(np.array([[1, 2]], dtype=np.int64)) == [1, 2]


def test_the_order_comes_from_the_seed(store: Path) -> None:
    opened = Store(str(store), "fraud")
    samples = opened.samples()
    first = bodies(opened.model, samples, limit=20, seed=1)
    assert first == bodies(opened.model, samples, limit=20, seed=1)
    assert first != bodies(opened.model, samples, limit=20, seed=2)
    with pytest.raises(OptionError):
        bodies(opened.model, samples, rows=0)


def test_paths() -> None:
    assert infer_path("fraud", "int8") == "/v2/models/fraud/versions/int8/infer"
    assert infer_path("fraud", "") == "/v2/models/fraud/infer"
