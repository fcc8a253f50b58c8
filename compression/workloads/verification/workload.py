"""The verification workload: two pictures in, the probability of one identity out."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from compression.errors import RecipeError
from compression.heads import Binary, Head
from compression.models.siamese import SiameseConfig, SiameseNetwork
from compression.store.manifest import TensorSpec
from compression.training.loop import TrainConfig
from compression.training.rows import Inputs
from compression.workloads.base import WINDOWS, Floats, Rows
from compression.workloads.original import TrainableWorkload
from compression.workloads.verification.config import StudentConfig, VerificationConfig
from compression.workloads.verification.discriminant import DiscriminantBaseline
from compression.workloads.verification.pairs import Pairs, draw_pairs
from compression.workloads.verification.pictures import draw_pictures


class VerificationWorkload(TrainableWorkload):
    """Pairs of made-up pictures. No identity, and no relative of one, is in two windows.

    A row is a pair, so the metrics are those of verification: `recall_at_fpr_1pct` is the true
    accept rate at a false accept rate of 1 %, and intervals draw the probes' identities.
    """

    name = "verification"
    settings_type = VerificationConfig
    student_type = StudentConfig
    routing_key = "identity"
    head: Head = Binary()
    baseline_name = "discriminant-analysis"
    baseline_description = "cosine of linear discriminants of the pixels' principal components"
    student_sizes: ClassVar[tuple[dict[str, Any], ...]] = (
        {"widths": [8, 16, 32], "convolutions": 1, "embedding": 32},
        {"widths": [16, 32, 64], "convolutions": 1, "embedding": 64},
        {"widths": [24, 48, 96], "convolutions": 1, "embedding": 96},
    )
    original_sizes: ClassVar[dict[str, Any]] = {
        "widths": [32, 64, 128], "convolutions": 2, "embedding": 128,
    }  # fmt: skip
    original_training = TrainConfig(
        epochs=3,
        batch_rows=128,
        learning_rate=2e-3,
        negatives_per_positive=2,
        average_decay=0.998,
        bfloat16=True,
    )

    def __init__(self, config: VerificationConfig) -> None:
        self.config = config
        self.original_path = config.original
        self._check_sizes(self.original_sizes["widths"])
        drawn = draw_pictures(config.pictures, config.families.total)
        self._pixels, self._identity = drawn.pixels, drawn.identity
        windows = self._draw_windows()
        self._pairs = Pairs(
            np.concatenate([pairs.probe for pairs in windows]),
            np.concatenate([pairs.reference for pairs in windows]),
        )
        self.train, self.validation, self.test = _consecutive([len(p.probe) for p in windows])
        self.groups = self._identity[self._pairs.probe]
        self.labels = self.groups == self._identity[self._pairs.reference]
        people_a_day = config.families.a_day * config.pictures.relatives
        self.days = self.groups // np.int32(people_a_day)
        size = config.pictures.size
        self.inputs = tuple(
            TensorSpec(name=name, datatype="FP32", shape=(-1, 1, size, size))
            for name in ("probe", "reference")
        )
        self.outputs = (TensorSpec(name="score", datatype="FP32", shape=(-1,)),)

    def _draw_windows(self) -> list[Pairs]:
        """Pairs of each window, whose families follow those of the one before."""
        config, generator = self.config, np.random.default_rng([self.config.pictures.seed, 2])
        windows, first = [], 0
        for name in WINDOWS:
            families = (first, first + getattr(config.families, name))
            relatives, pictures = config.pictures.relatives, config.pictures.pictures
            windows.append(draw_pairs(config.pairs, families, relatives, pictures, generator))
            first = families[1]
        return windows

    @cached_property
    def data_sha256(self) -> str:
        """Hash of pictures and pairs; the windows follow from them."""
        digest = hashlib.sha256(self.config.families.model_dump_json().encode())
        for array in (self._pixels, self._pairs.probe, self._pairs.reference):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def gather(self, rows: Rows) -> Inputs:
        """probe and reference, grey levels float32[m, 1, size, size] from 0 to 255."""
        return {
            "probe": self._pictures(self._pairs.probe[rows]),
            "reference": self._pictures(self._pairs.reference[rows]),
        }

    def _pictures(self, index: npt.NDArray[np.int64]) -> Floats:
        return self._pixels[index, None].astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Source, windows, counts."""
        counts = {
            name: {
                "identities": len(np.unique(self.groups[rows])),
                "pairs": len(rows),
                "same": int(self.labels[rows].sum()),
            }
            for name, rows in ((name, getattr(self, name)) for name in WINDOWS)
        }
        return {
            "generator": self.config.pictures.model_dump(),
            "families": self.config.families.model_dump(),
            "pairs": self.config.pairs.model_dump(),
            "split": "the windows hold disjoint identities, and disjoint families",
            "counts": counts,
            "data_sha256": self.data_sha256,
        }

    @property
    def architecture(self) -> dict[str, Any]:
        """The original's sizes."""
        return {"size": self.config.pictures.size, **self.original_sizes}

    def original_body(self, architecture: dict[str, Any]) -> SiameseNetwork:
        """A siamese network."""
        size = self.config.pictures.size
        if architecture["size"] != size:
            raise RecipeError(
                f"workload.pictures.size is {size}, but the original in {self.original_path} was "
                f"trained with {architecture['size']}: use that, or train another original"
            )
        sizes = architecture | {"widths": tuple(architecture["widths"])}
        return SiameseNetwork(SiameseConfig(**sizes))

    def student(self, options: dict[str, Any]) -> SiameseNetwork:
        """A small siamese network; options: those of `StudentConfig`, and a seed."""
        sizes = {**options}
        torch.manual_seed(int(sizes.pop("seed", 0)))
        config = StudentConfig.model_validate(sizes)
        self._check_sizes(config.widths)
        return SiameseNetwork(SiameseConfig(self.config.pictures.size, **config.model_dump()))

    def _check_sizes(self, widths: tuple[int, ...]) -> None:
        size, halved = self.config.pictures.size, 2 ** len(widths)
        if size % halved:
            raise RecipeError(
                f"workload.pictures.size is {size}: {len(widths)} stages (widths) halve the "
                f"picture as often, so it must be a multiple of {halved}"
            )

    def baseline_outputs(self, rows: Rows, seed: int) -> Floats:
        """Linear discriminants of the training identities, and a cosine."""
        pictures = np.unique(self._pairs.probe[self.train])
        model = DiscriminantBaseline(self._pixels)
        model.fit(
            pictures,
            self._identity[pictures],
            self._rows_pairs(self.train),
            self.labels[self.train],
            seed,
        )
        return model.score(self._rows_pairs(rows))

    def _rows_pairs(self, rows: Rows) -> Pairs:
        return Pairs(self._pairs.probe[rows], self._pairs.reference[rows])


def _consecutive(lengths: list[int]) -> list[Rows]:
    """Row numbers int64 of windows of these lengths, one after the other."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end) for length, end in zip(lengths, ends, strict=True)]
