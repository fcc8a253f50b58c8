from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from pydantic import ValidationError

from compression.errors import TechniqueError
from compression.pruning.masks import sparse_layers
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.sparsify import Sparsify, SparsifyOptions
from tests.compression.techniques.conftest import RETRAINING
from tests.compression.techniques.reports import Reports


def _options(**options: Any) -> SparsifyOptions:
    return SparsifyOptions.model_validate({**RETRAINING, **options})


@pytest.fixture(scope="module")
def two_of_four(candidate: Candidate, shared_context: Context) -> Candidate:
    options = _options(pattern="2:4", keep=("head",))
    return Sparsify().apply(candidate, options, shared_context, Reports())


def test_of_four_neighbours_two_are_zero_after_training(two_of_four: Candidate) -> None:
    masked = [w for n, w in sparse_layers(two_of_four.module.body) if "blocks." in n]
    assert len(masked) == 12
    for weight in masked:
        assert (weight.reshape(-1, 4).eq(0).sum(1) == 2).all()


def test_what_is_not_zero_was_trained(candidate: Candidate, two_of_four: Candidate) -> None:
    for (name, before), (_, after) in zip(
        sparse_layers(candidate.module.body), sparse_layers(two_of_four.module.body), strict=True
    ):
        kept = after != 0
        assert not torch.equal(before[kept], after[kept]), name


def test_the_notes_tell_the_truth_about_bytes_and_speed(two_of_four: Candidate) -> None:
    (notes,) = two_of_four.notes
    assert notes["pattern"] == "2:4"
    assert notes["dense_layers"] == ["embed_history.weight", "head.weight"]  # 7 inputs; kept
    assert 0.4 < notes["sparsity"] < 0.5
    assert notes["bytes"] == pytest.approx(notes["bytes_dense"], rel=0.01)
    assert notes["zstd_bytes"] < 0.9 * notes["zstd_bytes_dense"]
    low, high = notes["p50_ratio_to_dense_low"], notes["p50_ratio_to_dense_high"]
    assert 0 < low <= notes["p50_ratio_to_dense"] <= high
    assert notes["training_seconds"] > 0


def test_the_published_file_has_the_zeros(two_of_four: Candidate, shared_context: Context) -> None:
    graph = onnx.load_from_string(shared_context.float_graph(two_of_four.module)).graph
    arrays = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    zeros = sum(int((array == 0).sum()) for array in arrays if array.ndim == 2)
    expected = sum(int((w == 0).sum()) for _, w in sparse_layers(two_of_four.module.body))
    assert zeros >= expected > 0


@pytest.mark.usefixtures("stand_in_graphs")
def test_unstructured_zeros_grow_over_rounds_and_survive_an_interruption(
    candidate: Candidate, shared_context: Context, tmp_path: Path
) -> None:
    options = _options(share=0.8, rounds=2, max_positives=100)
    unbroken = Sparsify().apply(candidate, options, shared_context, Reports())
    assert unbroken.notes[0]["sparsity"] == pytest.approx(0.8, abs=0.001)
    context = replace(shared_context, scratch=tmp_path)

    def interrupt(done: int, total: int) -> None:
        if done > 0.7 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sparsify().apply(candidate, options, context, interrupt)
    reports = Reports()
    resumed = Sparsify().apply(candidate, options, context, reports)
    assert min(done / total for done, total in reports.calls) > 0.5
    for name, value in resumed.module.state_dict().items():
        assert torch.equal(value, unbroken.module.state_dict()[name]), name


def test_the_share_of_zeros_grows_fast_at_first() -> None:
    options = SparsifyOptions(share=0.8, rounds=4)
    shares = [options.share_after(number) for number in range(1, 5)]
    assert shares[-1] == pytest.approx(0.8)
    assert (np.diff([0.0, *shares]) > 0).all()
    assert (np.diff(np.diff([0.0, *shares])) < 0).all()


def test_the_original_is_not_touched(candidate: Candidate, two_of_four: Candidate) -> None:
    assert all(not (weight == 0).any() for _, weight in sparse_layers(candidate.module.body))
    assert two_of_four.module is not candidate.module


def test_a_pattern_that_fits_no_layer_is_refused(
    candidate: Candidate, shared_context: Context
) -> None:
    with pytest.raises(TechniqueError, match="M divides"):
        Sparsify().apply(candidate, _options(pattern="1:1000"), shared_context, Reports())
    with pytest.raises(TechniqueError, match="outside of `keep`"):
        Sparsify().apply(candidate, _options(keep=("*",)), shared_context, Reports())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "4:2"}, "N < M"),
        ({"pattern": "0:4"}, "N < M"),
        ({"pattern": "blocks"}, "unstructured or N:M"),
        ({"pattern": "2:4", "share": 0.6}, "share of its own"),
        ({"pattern": "2:4", "rounds": 2}, "share of its own"),
        ({"share": 1.0}, "share"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SparsifyOptions.model_validate(options)
