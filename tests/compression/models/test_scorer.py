from __future__ import annotations

import numpy as np
import torch
from torch import nn

from compression.graphs.export import to_onnx
from compression.graphs.session import open_session, run
from compression.models.scorer import CalibratedScorer


def test_small_probabilities_keep_their_digits_in_the_graph() -> None:
    """ONNX Runtime's own Sigmoid is off by a third of the score at logits of -15."""
    scorer = CalibratedScorer(nn.Flatten(0), slope=2.0, intercept=-1.0).eval()
    raw = np.random.default_rng(0).normal(-4, 1.5, (20_000, 1)).astype(np.float32)
    raw[:3, 0] = 100, -43, -100
    graph = to_onnx(scorer, {"raw": raw[:3]}, "score")
    scores = run(open_session(graph), {"raw": raw})
    logits = raw[:, 0].astype(np.float64) * 2 - 1
    assert tuple(scores[[0, 2]]) == (1, 0)
    rest = np.arange(len(raw)) != 2
    np.testing.assert_allclose(scores[rest], 1 / (1 + np.exp(-logits[rest])), rtol=1e-5)
    assert len(np.unique(scores)) > 0.99 * len(np.unique(raw))
    with torch.inference_mode():
        own = scorer(torch.from_numpy(raw)).numpy()
    np.testing.assert_allclose(scores, own, rtol=1e-5)
