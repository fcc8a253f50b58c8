"""Techniques by name. A new one is a new module and one line here."""

from __future__ import annotations

from compression.techniques.base import Technique
from compression.techniques.distill import Distill
from compression.techniques.factorize import Factorize
from compression.techniques.imported import Import
from compression.techniques.onnx import Onnx
from compression.techniques.prune import Prune
from compression.techniques.quantize import Quantize
from compression.techniques.sparsify import Sparsify
from compression.techniques.train import Train

TECHNIQUES: dict[str, Technique] = {
    technique.name: technique
    for technique in (
        Onnx(),
        Prune(),
        Sparsify(),
        Factorize(),
        Quantize(),
        Distill(),
        Train(),
        Import(),
    )
}

__all__ = ["TECHNIQUES", "Technique"]
