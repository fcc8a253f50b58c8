"""Rows of the training window that epochs draw from."""

from __future__ import annotations

import numpy as np

from compression.workloads.base import Rows, Workload


def training_pool(workload: Workload, negatives: int, seed: int) -> Rows:
    """Every rare row of the training window and drawn others, int64[m], in order."""
    rare = workload.head.rare(workload.labels[workload.train])
    positives, others = workload.train[rare], workload.train[~rare]
    wanted = min(negatives, len(others))
    drawn = np.random.default_rng(seed).choice(others, wanted, replace=False)
    return np.sort(np.concatenate((positives, drawn)))
