from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from compression.store import TensorSpec
from serve_app.protocol.scores import ScoresWriter
from tests.support.store import make_document

TOLD: dict[str, str | int] = {
    "variant": "close", "why": "pin", "table_version": 3, "experiment": "first",
}  # fmt: skip


def written(values: Any, threshold: float, features: tuple[str, ...] | None = None) -> Any:
    array = np.array(values, np.float32)
    shape = (-1, *array.shape[1:])
    output = TensorSpec(name="score", datatype="FP32", shape=shape, features=features)
    document = make_document().model_copy(update={"outputs": (output,)})
    return json.loads(ScoresWriter(document).write({"score": array}, threshold, TOLD))


def test_a_score_of_at_least_the_threshold_is_a_yes() -> None:
    body = written([0.25, 0.5, 0.75], 0.5)
    assert body["experiment"] == "first"
    assert [row["score"] for row in body["rows"]] == [0.25, 0.5, 0.75]
    assert [row["decision"] for row in body["rows"]] == [False, True, True]
    assert body["rows"][0].keys() == {"score", "decision", "variant", "why", "table_version"}


@pytest.mark.parametrize(
    ("features", "score"), [(None, [0.25, 0.75]), (("good", "bad"), {"good": 0.25, "bad": 0.75})]
)
def test_several_numbers_a_row_come_by_name_and_without_a_decision(
    features: tuple[str, ...] | None, score: Any
) -> None:
    (row,) = written([[0.25, 0.75]], 0.5, features)["rows"]
    assert (row["score"], row["decision"]) == (score, None)
