"""What an opened workload must hold, and how it is said when it does not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from compression.errors import RecipeError
from compression.heads import Binary
from compression.store.manifest import TensorSpec
from compression.workloads.base import Workload
from compression.workloads.checks import check_workload

Change = Callable[[SimpleNamespace], object]


def _made_up() -> SimpleNamespace:
    """Thirty rows, ten in each window."""
    values = np.arange(60, dtype=np.float32).reshape(30, 2)
    groups = np.arange(30, dtype=np.int32)
    return SimpleNamespace(
        name="made-up",
        inputs=(TensorSpec(name="features", datatype="FP32", shape=(-1, 2)),),
        outputs=(TensorSpec(name="score", datatype="FP32", shape=(-1,)),),
        head=Binary(),
        labels=np.arange(30) % 2 == 0,
        groups=groups,
        days=groups.copy(),
        train=np.arange(10),
        validation=np.arange(10, 20),
        test=np.arange(20, 30),
        gather=lambda rows: {"features": values[rows]},
        routing_keys=lambda rows: groups[rows].astype(np.str_),
    )


def test_what_keeps_the_protocol_passes() -> None:
    check_workload(cast(Workload, _made_up()))


def _set(**members: Any) -> Change:
    return lambda workload: workload.__dict__.update(members)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: [w.__dict__.pop(name) for name in ("days", "head")],
            "head is .*; days is missing",
        ),
        (_set(groups=np.arange(30)), r"groups must be int32\[30\], .*; it is int64\[30\]"),
        (_set(days=np.zeros(29, np.int32)), r"days must be int32\[30\], .*; it is int32\[29\]"),
        (_set(days=[0] * 30), "days must be .* it is list"),
        (_set(test=np.arange(20.0, 30.0)), r"test must be int64\[·\] .*; it is float64\[10\]"),
        (_set(test=np.arange(29, 19, -1)), "test must hold rising row numbers from 0 to 29"),
        (_set(test=np.arange(20, 31)), "test must hold rising row numbers from 0 to 29"),
        (_set(train=np.arange(12)), "train and validation share 2 rows: what trains must not"),
        (_set(validation=np.arange(10, 12)), "validation has 2 rows: at least 3 are needed"),
        (
            _set(gather=lambda rows: {"values": np.zeros((len(rows), 2), np.float32)}),
            r"gather gives \['values'\]; `inputs` says \['features'\]",
        ),
        (
            _set(gather=lambda rows: {"features": np.zeros((len(rows), 3), np.float32)}),
            r"gather: features must be float32\[3, 2\]; it is float32\[3, 3\]",
        ),
        (
            _set(gather=lambda rows: {"features": np.zeros((len(rows), 2))}),
            r"gather: features must be float32\[3, 2\]; it is float64\[3, 2\]",
        ),
        (_set(routing_keys=lambda rows: np.array(["a"])), "routing_keys of 3 rows must be as many"),
    ],
)
def test_what_does_not_is_named(change: Change, message: str) -> None:
    workload = _made_up()
    change(workload)
    with pytest.raises(RecipeError, match=f"workload SimpleNamespace: .*{message}"):
        check_workload(cast(Workload, workload))
