"""Score many rows: chunks on a pool of threads, one core each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from compression.training.rows import Inputs

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Gather = Callable[[Rows], Inputs]
Report = Callable[[int, int], None]


def nothing(done: int, total: int) -> None:
    """A report that nobody watches."""


def part_of(report: Report, part: int, parts: int) -> Report:
    """A report of one part of equal ones, the first is 0, told as a share of the whole."""
    return lambda done, total: report(part * total + done, parts * total)


def in_chunks(
    score: Callable[[Inputs], Floats],
    gather: Gather,
    rows: Rows,
    *,
    workers: int = 1,
    chunk_rows: int = 128,
    report: Report = nothing,
) -> Floats:
    """float32[len(rows), …]: `score` of each chunk's inputs; `report(done, all)` after each.

    Several chunks at once on one core each, rather than one chunk on several: where another
    process holds a core, threads that must meet after every operation wait for the slowest.
    """
    if not len(rows):
        return np.empty(0, np.float32)

    def one(start: int) -> Floats:
        return score(gather(rows[start : start + chunk_rows]))

    chunks, done = [], 0
    with ThreadPoolExecutor(workers, "score", torch.set_num_threads, (1,)) as pool:
        for chunk in pool.map(one, range(0, len(rows), chunk_rows)):
            chunks.append(chunk)
            done += len(chunk)
            report(done, len(rows))
    return np.concatenate(chunks)


def outputs_of(
    model: nn.Module,
    gather: Gather,
    rows: Rows,
    *,
    bfloat16: bool = False,
    workers: int = 1,
    report: Report = nothing,
) -> Floats:
    """Output of a PyTorch model for each of rows, float32[len(rows), …]."""
    model.eval()

    def score(inputs: Inputs) -> Floats:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = model(*(torch.from_numpy(array) for array in inputs.values()))
        scores: Floats = output.float().numpy()
        return scores

    return in_chunks(score, gather, rows, workers=workers, report=report)
