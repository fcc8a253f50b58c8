"""What only a GPU can show. Elsewhere these are skipped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression.store import ModelStore
from serve_app.runners import Arrays, load_variant
from serve_app.runners.onnx import OnnxRunner
from serve_app.runners.program import ProgramRunner
from serve_app.runners.providers import CPU, CUDA
from tests.support.gpu import needs_gpu
from tests.support.store import (
    MODEL,
    check_answers_stay,
    make_onnx,
    make_program,
    make_samples,
    scores,
)

pytestmark = needs_gpu

SAMPLES = make_samples(64)


def batch(rows: int) -> Arrays:
    return {
        name: np.resize(array, (rows, *array.shape[1:]))
        for name, array in SAMPLES.rows(0, min(rows, 64)).items()
    }


@pytest.fixture(scope="module")
def runner() -> OnnxRunner:
    made = OnnxRunner(make_onnx(), ["score"], 1)
    assert made.warm_up(batch, 100)
    return made


def test_it_computes_on_the_gpu_and_says_so(runner: OnnxRunner) -> None:
    assert f"{CUDA},{CPU} (0 of " in runner.detail
    assert "CUDA graphs of up to " in runner.detail


@pytest.mark.parametrize("rows", [1, 2, 3, 31, 32, 33, 64, 100, 128, 129, 500])
def test_a_batch_of_any_size_is_computed(runner: OnnxRunner, rows: int) -> None:
    given = batch(rows)
    for _ in range(3):
        np.testing.assert_allclose(runner.run(given)["score"], scores(given), atol=1e-5)


def test_other_threads_get_the_same(runner: OnnxRunner) -> None:
    for rows in (1, 5, 64):
        given = SAMPLES.rows(0, rows)
        with ThreadPoolExecutor(1) as thread:
            for _ in range(4):
                answer = thread.submit(runner.run, given).result()
                np.testing.assert_allclose(answer["score"], scores(given), atol=1e-5)
        np.testing.assert_allclose(runner.run(given)["score"], scores(given), atol=1e-5)


def test_answers_stay_when_the_next_batch_is_computed(runner: OnnxRunner) -> None:
    check_answers_stay(runner.run, atol=1e-5)


def test_a_model_can_be_opened_while_another_computes(runner: OnnxRunner) -> None:
    given = SAMPLES.rows(0, 7)

    def go_on() -> None:
        for _ in range(2000):
            np.testing.assert_allclose(runner.run(given)["score"], scores(given), atol=1e-5)

    with ThreadPoolExecutor(1) as thread:
        going = thread.submit(go_on)
        other = OnnxRunner(make_onnx(shift=0.5), ["score"], 1)
        other.warm_up(batch, 64)
        np.testing.assert_allclose(other.run(given)["score"], scores(given, shift=0.5), atol=1e-5)
        going.result()


def make_int8() -> bytes:
    """score = transaction · w in int8: CUDA has no kernel for the product."""
    weights = np.array([[1], [-2], [3], [4]], dtype=np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["transaction"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["product"]),
        helper.make_node("Cast", ["product"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "int8",
        [helper.make_tensor_value_info("transaction", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def test_what_cuda_cannot_compute_the_cpu_does_and_nothing_is_recorded() -> None:
    made = OnnxRunner(make_int8(), ["score"], 1)
    assert not made.warm_up(batch, 16)
    assert "CUDA graphs" not in made.detail
    assert "(0 of" not in made.detail
    given = SAMPLES.rows(0, 9)
    expected = OnnxRunner(make_int8(), ["score"], 1, providers=[CPU]).run(given)["score"]
    np.testing.assert_allclose(made.run(given)["score"], expected, atol=1e-5)


def test_a_program_computes_on_the_gpu() -> None:
    made = ProgramRunner(make_program(), ["transaction", "history"], ["score"], 1)
    assert "cuda" in made.detail
    given = SAMPLES.rows(0, 33)
    np.testing.assert_allclose(made.run(given)["score"], scores(given), atol=1e-5)


def test_a_variant_is_loaded_checked_and_timed(store_uri: str) -> None:
    loaded = load_variant(ModelStore(store_uri), MODEL, "close", 1)
    given = make_samples().rows(40, 45)
    np.testing.assert_allclose(
        loaded.runner.run(given)["score"], scores(given, shift=0.01), atol=1e-5
    )
    assert CUDA in loaded.runner.detail
    assert 0 < loaded.seconds_per_call < 1
