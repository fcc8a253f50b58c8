from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import onnx
import pytest
import torch

from compression.graphs.export import to_onnx, to_program
from compression.graphs.session import open_session, run
from compression.models.scorer import Scorer
from compression.store.archive import check_program_archive
from compression.training.scoring import Floats
from compression.workloads.fraud.workload import FraudWorkload

ROWS = [1, 3, 40]
CLOSE = 1e-4


def _expected(workload: FraudWorkload, rows: int) -> tuple[dict[str, Floats], Floats]:
    inputs = dict(workload.gather(workload.test[:rows]))
    with torch.inference_mode():
        scores = workload.original()(*(torch.from_numpy(a) for a in inputs.values()))
    expected: Floats = scores.numpy()
    return inputs, expected


@pytest.fixture(scope="module")
def program(tiny_workload: FraudWorkload) -> bytes:
    example = tiny_workload.gather(tiny_workload.validation[:3])
    return to_program(tiny_workload.original(), example)


@pytest.mark.parametrize("rows", ROWS)
def test_the_graph_computes_what_the_module_does(
    tiny_workload: FraudWorkload, tiny_graph: bytes, rows: int
) -> None:
    inputs, expected = _expected(tiny_workload, rows)
    scores = run(open_session(tiny_graph), inputs)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("rows", ROWS)
def test_the_program_computes_what_the_module_does(
    tiny_workload: FraudWorkload, program: bytes, rows: int
) -> None:
    inputs, expected = _expected(tiny_workload, rows)
    loaded = torch.export.load(io.BytesIO(program)).module()
    with torch.inference_mode():
        scores = loaded(*(torch.from_numpy(a) for a in inputs.values()))
    np.testing.assert_allclose(scores.numpy(), expected, atol=CLOSE, rtol=0)


def test_the_program_holds_nothing_that_runs_when_opened(program: bytes) -> None:
    check_program_archive(program)


def test_neither_file_tells_paths_of_this_machine(tiny_graph: bytes, program: bytes) -> None:
    for content in (tiny_graph, program):
        assert b".py" not in content
        assert b"site-packages" not in content


def test_the_graph_names_its_inputs_and_output_with_a_variable_batch(tiny_graph: bytes) -> None:
    session = open_session(tiny_graph)
    described = {value.name: value.shape for value in session.get_inputs()}
    assert list(described) == ["transaction", "history"]
    assert described["transaction"][1:] == [20]
    assert described["history"][1:] == [8, 7]
    assert all(isinstance(shape[0], str) for shape in described.values())
    assert [value.name for value in session.get_outputs()] == ["score"]


def test_the_graph_is_one_valid_file(tiny_graph: bytes) -> None:
    model = onnx.load_from_string(tiny_graph)
    onnx.checker.check_model(model, full_check=True)
    assert not model.graph.value_info
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


class Drops(torch.nn.Module):
    """Dropout is switched off where the export asks for eval mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32[n, f] → the same shape."""
        return torch.nn.functional.dropout(x, 0.9, self.training)


def test_exporting_is_quiet_and_in_eval_mode(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("torch.onnx")
    logger.setLevel(logging.INFO)
    inputs = {"x": np.ones((3, 2), np.float32)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            graph = to_onnx(Scorer(Drops()).train(), inputs, "y")
        assert logger.level == logging.INFO, "left as it was"
    finally:
        logger.setLevel(logging.NOTSET)
    assert capfd.readouterr() == ("", "")
    assert (run(open_session(graph), inputs) == 1).all()
