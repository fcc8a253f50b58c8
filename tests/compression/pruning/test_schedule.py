from __future__ import annotations

from typing import Any, Literal

import pytest

from compression.pruning.dependencies import Structure
from compression.pruning.schedule import RoundRecord, kept, plans, reason_to_stop
from compression.pruning.targets import Figures, Targets


def _structures(**units: int) -> list[Structure]:
    return [Structure(n, "channels", tuple((u,) for u in range(c))) for n, c in units.items()]


def _record(speedup: float, gate: Literal["passed", "failed"] | None) -> RoundRecord:
    figures = Figures(1, 1, 1, speedup, speedup, speedup)
    return RoundRecord(left={"a": 1}, figures=figures, gate=gate, training_seconds=1.0)


def test_rounding_does_not_add_up() -> None:
    found = plans(_structures(a=16, b=10), lambda step: 0.5 ** (step / 4), 4, 4)
    assert found == [{"a": 13, "b": 8}, {"a": 11, "b": 7}, {"a": 10, "b": 6}, {"a": 8, "b": 5}]


def test_steps_that_change_nothing_make_no_round() -> None:
    found = plans(_structures(a=4), lambda step: 0.9**step, None, 3)
    assert found == [{"a": 3}, {"a": 2}, {"a": 1}]


def test_there_are_no_more_rounds_than_allowed_nor_after_the_last_unit() -> None:
    assert len(plans(_structures(a=100), lambda step: 0.9**step, None, 5)) == 5
    assert plans(_structures(a=2), lambda step: 0.9**step, None, 5) == [{"a": 1}]
    assert plans(_structures(a=4), lambda step: 0.99, 1, 5) == []
    assert plans([], lambda step: 0.5, None, 5) == []


TARGET = Targets(speedup=2.0)
ROUNDS = [{"a": 3}, {"a": 2}, {"a": 1}]


@pytest.mark.parametrize(
    ("records", "target", "most", "reason"),
    [
        ([], TARGET, 3, None),
        ([_record(1.5, "passed")], TARGET, 3, None),
        ([_record(1.5, "passed"), _record(2.0, "passed")], TARGET, 3, "target met"),
        ([_record(1.5, "passed"), _record(2.0, "failed")], TARGET, 3, "gate"),
        ([_record(2.5, None)], TARGET, 3, "target met"),
        ([_record(1.5, "failed")], None, 3, "gate"),
        ([_record(1.5, "passed")] * 3, TARGET, 3, "rounds used up"),
        ([_record(1.5, "passed")] * 3, TARGET, 9, "nothing left to remove"),
        ([_record(1.5, None)] * 3, None, 3, "rounds used up"),
        ([_record(9.5, None)], None, 3, None),
    ],
)
def test_when_to_stop(records: Any, target: Targets | None, most: int, reason: str | None) -> None:
    assert reason_to_stop(records, ROUNDS, most, target) == reason


@pytest.mark.parametrize(
    ("gates", "number"),
    [
        (["passed"], 1),
        (["passed", "passed"], 2),
        (["passed", "passed", "failed"], 2),
        (["failed"], 1),
        ([None, None], 2),
    ],
)
def test_the_last_round_that_held_is_kept(gates: list[Any], number: int) -> None:
    assert kept([_record(1.0, gate) for gate in gates]) == number


def test_a_record_survives_json() -> None:
    record = _record(1.25, "failed")
    assert RoundRecord.model_validate(record.model_dump(mode="json")) == record
