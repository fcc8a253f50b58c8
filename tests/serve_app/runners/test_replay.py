"""How batches come into recordings and out again; on the CPU, where binding and padding are alike.

That CUDA really records is shown on a GPU, by `test_cuda.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from serve_app.runners import Arrays
from serve_app.runners.providers import CPU, open_session
from serve_app.runners.replay import Replay
from tests.support.store import check_answers_stay, make_onnx, make_samples, scores

SAMPLES = make_samples(64)


def batch(rows: int) -> Arrays:
    return SAMPLES.rows(0, rows)


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Every size is kept, whatever it costs here."""
    monkeypatch.setattr("serve_app.runners.replay._seconds", lambda call: 0.0)
    made = Replay(open_session(make_onnx(), [CPU], 1), ["score"], "cpu")
    made.record(batch, 33)
    return made


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 17, 31, 32, 33, 64])
def test_a_batch_of_any_size_is_computed(replay: Replay, rows: int) -> None:
    given = SAMPLES.rows(64 - rows, 64)
    np.testing.assert_allclose(replay.run(given)["score"], scores(given), atol=1e-6)


def test_sizes_are_recorded_up_to_the_one_that_holds_the_largest_batch(replay: Replay) -> None:
    assert replay.most_rows == 64


def test_what_an_earlier_batch_left_is_not_answered(replay: Replay) -> None:
    replay.run(batch(64))
    fewer = SAMPLES.rows(10, 43)
    assert replay.run(fewer)["score"].shape == (33,)
    np.testing.assert_allclose(replay.run(fewer)["score"], scores(fewer), atol=1e-6)


def test_answers_stay_when_the_next_batch_is_computed(replay: Replay) -> None:
    check_answers_stay(replay.run, atol=1e-6)


def test_inputs_that_may_not_be_written_are_taken(replay: Replay) -> None:
    given = batch(3)
    for array in given.values():
        array.flags.writeable = False
    np.testing.assert_allclose(replay.run(given)["score"], scores(given), atol=1e-6)


def test_a_recording_that_does_not_pay_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([2.0, 1.0, 1.0, 1.0, 3.0, 2.0])  # recorded, not recorded; of 1, 2 and 4 rows
    monkeypatch.setattr("serve_app.runners.replay._seconds", lambda call: next(seconds))
    replay = Replay(open_session(make_onnx(), [CPU], 1), ["score"], "cpu")
    replay.record(batch, 4)
    assert replay.most_rows == 2
    np.testing.assert_allclose(replay.run(batch(4))["score"], scores(batch(4)), atol=1e-6)


def test_a_batch_of_another_shape_is_computed_without_one() -> None:
    axes = np.array([1], dtype=np.int64)
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0)],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(axes, "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    replay = Replay(open_session(model.SerializeToString(), [CPU], 1), ["sum"], "cpu")
    replay.record(lambda rows: {"x": np.ones((rows, 3), np.float32)}, 4)
    for length in (3, 5):
        given = {"x": np.ones((4, length), np.float32)}
        assert replay.run(given)["sum"].tolist() == [length] * 4


def test_without_a_recording_it_computes(replay: Replay) -> None:
    replay.forget()
    assert replay.most_rows == 0
    np.testing.assert_allclose(replay.run(batch(5))["score"], scores(batch(5)), atol=1e-6)


def test_a_recording_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay = Replay(open_session(make_onnx(), [CPU], 1), ["score"], "cpu")
    monkeypatch.setattr(Replay, "_replay", lambda *_: {"score": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="1 rows have another score"):
        replay.record(batch, 4)
