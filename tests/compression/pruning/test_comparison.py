from __future__ import annotations

import numpy as np
import pytest

from compression.pruning.comparison import against_dense
from compression.pruning.packing import zstd_bytes
from tests.compression.graphs.made import perceptron


@pytest.mark.parametrize(("hidden", "dense_hidden"), [(8, 50_000), (50_000, 8)])
def test_it_says_which_of_the_two_is_smaller_and_faster(hidden: int, dense_hidden: int) -> None:
    graph, dense = perceptron(4, hidden), perceptron(4, dense_hidden)
    notes = against_dense(graph, dense, {"x": np.ones((1, 4), np.float32)}, 0.02)
    assert (notes["bytes"], notes["bytes_dense"]) == (len(graph), len(dense))
    assert (notes["zstd_bytes"], notes["zstd_bytes_dense"]) == (
        zstd_bytes(graph),
        zstd_bytes(dense),
    )
    low, ratio, high = (notes[f"p50_ratio_to_dense{end}"] for end in ("_low", "", "_high"))
    assert low <= ratio <= high
    assert (high < 1) if hidden < dense_hidden else (low > 1)
