"""Score many rows with a PyTorch model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from compression.training.rows import Inputs


def logits_of(
    model: nn.Module,
    gather: Callable[[npt.NDArray[np.int64]], Inputs],
    rows: npt.NDArray[np.int64],
    *,
    bfloat16: bool = False,
    chunk_rows: int = 256,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> npt.NDArray[np.float32]:
    """Model output float32[len(rows)], in chunks; `report(done, all)` after each."""
    model.eval()
    out = np.empty(len(rows), np.float32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for start in range(0, len(rows), chunk_rows):
            chosen = rows[start : start + chunk_rows]
            inputs = (torch.from_numpy(array) for array in gather(chosen).values())
            out[start : start + len(chosen)] = model(*inputs).float().numpy()
            report(start + len(chosen), len(rows))
    return out
