"""A changed model beside the one it was made from: bytes, packed bytes, speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from compression.graphs.paired import compare_graphs
from compression.pruning.packing import zstd_bytes


def against_dense(
    graph: bytes,
    dense: bytes,
    row: Mapping[str, npt.NDArray[Any]],
    seconds: float,
) -> dict[str, float | int]:
    """Notes for a report: sizes of both ONNX files, plain and packed with Zstandard, and speed.

    `p50_ratio_to_dense` is the median time of `graph` over that of `dense` on inputs of one row,
    in ONNX Runtime on one thread, called in turn (see `compression.graphs.paired`); below 1 is
    faster. `_low` and `_high` are its 95 % interval.
    """
    ratio = compare_graphs(dense, graph, row, seconds).ratio
    return {
        "bytes_dense": len(dense),
        "bytes": len(graph),
        "zstd_bytes_dense": zstd_bytes(dense),
        "zstd_bytes": zstd_bytes(graph),
        "p50_ratio_to_dense": ratio.value,
        "p50_ratio_to_dense_low": ratio.low or ratio.value,
        "p50_ratio_to_dense_high": ratio.high or ratio.value,
    }
