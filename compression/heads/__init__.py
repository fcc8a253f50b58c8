"""Heads: what a model's output means, how it is trained, finished and judged."""

from __future__ import annotations

from compression.heads.base import Head, Trials
from compression.heads.binary import Binary
from compression.heads.embedding import Embedding
from compression.heads.multiclass import MultiClass
from compression.heads.regression import Regression

__all__ = ["Binary", "Embedding", "Head", "MultiClass", "Regression", "Trials"]
