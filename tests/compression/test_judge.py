from __future__ import annotations

from typing import Any

from compression.chains import Chain
from compression.judge import told
from compression.techniques.base import Options
from compression.techniques.candidate import Candidate
from compression.techniques.onnx import Onnx
from compression.techniques.sparsify import SparsifyOptions

SPARSE: tuple[str, Options] = ("sparsify", SparsifyOptions())
NOTES: dict[str, Any] = {
    "pattern": "unstructured",
    "sparsity": 0.5,
    "p50_ratio_to_dense": 1.0,
    "p50_ratio_to_dense_low": 0.99,
    "p50_ratio_to_dense_high": 1.01,
    "bytes_dense": 10,
    "bytes": 10,
    "zstd_bytes_dense": 9,
    "zstd_bytes": 5,
}


def _chain(name: str, candidate: Candidate, *steps: tuple[tuple[str, Options], Any]) -> Chain:
    for _, notes in steps:
        candidate = candidate.noted(dict(notes), 1.0)
    return Chain(name, "original", "pruned", tuple(s for s, _ in steps), candidate, "0" * 64)


def test_what_techniques_measured_is_told_once(candidate: Candidate) -> None:
    onnx = (Onnx.name, Onnx.options())
    chains = [
        _chain("original", candidate),
        _chain("sparse", candidate, (SPARSE, NOTES)),
        _chain("sparse-onnx", candidate, (SPARSE, NOTES), (onnx, {})),
        _chain("sparser", candidate, (("sparsify", SparsifyOptions(share=0.9)), NOTES)),
    ]
    sentences = list(told(chains))
    assert [sentence.partition(":")[0] for sentence in sentences] == ["sparse", "sparser"]
    assert "gave no speed in ONNX Runtime" in sentences[0]
