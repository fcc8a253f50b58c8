"""Quantisation: fewer bits for weights, and for activations where the runtime has kernels for it.

Methods go by their names. A new one is a new module and one line here.
"""

from __future__ import annotations

from compression.quantisation.auto import Auto
from compression.quantisation.base import Job, Method, Quantised
from compression.quantisation.dynamic import Dynamic
from compression.quantisation.half import Half, HalfWeights
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.qat import Qat
from compression.quantisation.static import Static
from compression.quantisation.weight_only import WeightOnly

METHODS: dict[str, Method] = {
    method.name: method
    for method in (Dynamic(), Static(), Qat(), Auto(), WeightOnly(), Half(), HalfWeights())
}

__all__ = ["METHODS", "Job", "Method", "QuantisationOptions", "Quantised"]
