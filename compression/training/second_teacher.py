"""A second teacher beside the original: gradient boosting, which errs on other rows.

It is trained twice, on halves of the groups, and speaks on the other half: on rows it learned from
it would only repeat their labels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compression.errors import TechniqueError
from compression.graphs.foreign import flattened
from compression.heads import Binary
from compression.training.scoring import Floats, Rows
from compression.workloads.base import Workload
from compression.workloads.boosting import classifier

_SURE = 1e-6
"""Probabilities are kept that far from 0 and 1, so that logits are finite."""


def boosting_logits(
    workload: Workload,
    rows: Rows,
    known: npt.NDArray[np.bool_],
    negatives_per_positive: float,
    seed: int,
) -> Floats:
    """Logits float32[m] for rows int64[m], learned from the labels of those that are `known`.

    It learns on as many negatives per positive as the student sees, so that its logits mean the
    same as the student's.

    Raises:
        TechniqueError: the head is not binary, or a half has one class alone.
    """
    if not isinstance(workload.head, Binary):
        raise TechniqueError(
            f"second_teacher: boosting needs a binary head, this one is {workload.head.name}: "
            "leave it out"
        )
    generator = np.random.default_rng([seed, 5])
    groups, labels = workload.groups[rows], workload.labels[rows].astype(np.bool_)
    half = generator.permutation(int(groups.max()) + 1)[groups] % 2 == 0
    logits = np.empty(len(rows), np.float32)
    inputs = flattened(workload.gather(rows))
    for speaks in (half, ~half):
        learns = np.flatnonzero(known & ~speaks)
        positives, negatives = learns[labels[learns]], learns[~labels[learns]]
        if not len(positives) or not len(negatives) or not speaks.any():
            raise TechniqueError(
                "second_teacher: half of the groups have labels of one kind alone: give more "
                "data, or leave it out"
            )
        wanted = min(len(negatives), int(negatives_per_positive * len(positives)))
        drawn = generator.choice(negatives, wanted, replace=False)
        chosen = np.concatenate((positives, drawn))
        model = classifier(seed).fit(inputs[chosen], labels[chosen])
        shares = np.clip(model.predict_proba(inputs[speaks])[:, 1], _SURE, 1 - _SURE)
        logits[speaks] = np.log(shares / (1 - shares))
    return logits
