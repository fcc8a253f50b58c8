"""Gradient boosting on a workload's inputs, as an ONNX file: what to hold a network against.

A stand-in for the model that a team already has: it is trained by scikit-learn, exported by
skl2onnx, and knows nothing of this package. `python -m compression import` makes it a variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from compression.errors import RecipeError
from compression.graphs.foreign import flattened
from compression.heads import Binary
from compression.workloads.base import Workload
from compression.workloads.boosting import classifier

NEGATIVES_PER_POSITIVE = 10
OPSET = {"": 17, "ai.onnx.ml": 3}


def fit_boosting(workload: Workload, seed: int, iterations: int = 150) -> Any:
    """A HistGradientBoostingClassifier, trained on the flattened inputs of `train`.

    On all positives and ten times as many drawn negatives, which weigh what they stand for, so
    that its probabilities are those of all rows.

    Raises:
        RecipeError: the workload's labels are not yes or no.
    """
    if not isinstance(workload.head, Binary):
        raise RecipeError(
            f"workload {workload.name!r} has a {workload.head.name} head: boosting needs a binary "
            "one; export a model of your own and import it"
        )
    labels = workload.labels[workload.train]
    positives, negatives = workload.train[labels], workload.train[~labels]
    wanted = min(len(negatives), NEGATIVES_PER_POSITIVE * len(positives))
    drawn = np.random.default_rng(seed).choice(negatives, wanted, replace=False)
    rows = np.sort(np.concatenate((positives, drawn)))
    target = workload.labels[rows].astype(np.int64)
    weights = np.where(target == 1, 1.0, len(negatives) / wanted)
    model = classifier(seed, iterations)
    return model.fit(flattened(workload.gather(rows)), target, sample_weight=weights)


def to_onnx(model: Any, features: int) -> bytes:
    """The fitted classifier as skl2onnx writes it: a label and probabilities `[n, 2]`."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    with _whole_numbers():
        converted = convert_sklearn(
            model,
            initial_types=[("features", FloatTensorType([None, features]))],
            options={id(model): {"zipmap": False}},
            target_opset=OPSET,
        )
    return bytes(converted.SerializeToString())


@contextmanager
def _whole_numbers() -> Iterator[None]:
    """Have skl2onnx 1.20 write 0 for False: protobuf takes no booleans for integers any more."""
    from skl2onnx.common import tree_ensemble

    add_node = tree_ensemble.add_node

    def add_whole(*arguments: Any, nodes_missing_value_tracks_true: Any, **more: Any) -> Any:
        tracks = int(nodes_missing_value_tracks_true)
        return add_node(*arguments, nodes_missing_value_tracks_true=tracks, **more)

    tree_ensemble.add_node = add_whole
    try:
        yield
    finally:
        tree_ensemble.add_node = add_node
