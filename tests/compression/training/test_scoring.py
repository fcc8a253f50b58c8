from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from compression.training.rows import Inputs
from compression.training.scoring import Rows, in_chunks, outputs_of
from tests.compression.training.toy import Toy

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


def _gather(rows: Rows) -> Inputs:
    return {"x": X[rows]}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_chunks_come_back_in_the_rows_order(workers: int, chunk_rows: int) -> None:
    rows = np.array([5, 3, 299, 0, 3, *range(40, 60)], np.int64)
    done: list[int] = []
    scores = in_chunks(
        lambda inputs: inputs["x"].sum(axis=1),
        _gather,
        rows,
        workers=workers,
        chunk_rows=chunk_rows,
        report=lambda count, total: done.append(count),
    )
    np.testing.assert_array_equal(scores, X[rows].sum(axis=1))
    assert done[-1] == len(rows)
    assert len(done) == -(-len(rows) // chunk_rows)


def test_no_rows_have_no_scores() -> None:
    assert in_chunks(lambda inputs: inputs["x"][:, 0], _gather, np.empty(0, np.int64)).shape == (0,)


def test_a_failing_chunk_fails_the_whole() -> None:
    def fail(inputs: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_chunks(fail, _gather, np.arange(300), workers=2)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_logits_are_the_module_s_in_eval_mode(bfloat16: bool) -> None:
    torch.manual_seed(0)
    toy, rows = Toy().train(), np.arange(300)
    given = outputs_of(toy, _gather, rows, bfloat16=bfloat16, workers=2)
    with torch.inference_mode():
        expected = toy.eval()(torch.from_numpy(X)).numpy()
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, atol=0.05 if bfloat16 else 1e-6)
    if bfloat16:
        assert not np.array_equal(given, expected)
