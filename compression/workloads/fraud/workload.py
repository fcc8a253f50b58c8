"""The fraud workload: transactions in, a probability of fraud out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from compression.errors import RecipeError
from compression.heads import Binary, Head
from compression.models.reader import HistoryReader, ReaderConfig
from compression.models.transformer import TransactionTransformer, TransformerConfig
from compression.quality.segmentation import Segmentation
from compression.store.manifest import TensorSpec
from compression.training.loop import TrainConfig
from compression.training.rows import Inputs
from compression.workloads.base import Floats, Rows
from compression.workloads.fraud.boosting import GradientBoostingBaseline
from compression.workloads.fraud.config import FraudConfig, StudentConfig
from compression.workloads.fraud.features import (
    HISTORY_FEATURES,
    TRANSACTION_FEATURES,
    FraudFeatures,
)
from compression.workloads.fraud.files import read_transactions
from compression.workloads.fraud.segments import amount_edges, fraud_segments
from compression.workloads.fraud.simulator import simulate
from compression.workloads.fraud.splits import split
from compression.workloads.original import TrainableWorkload

RISK = TRANSACTION_FEATURES.index("terminal_risk_30d")
STANDARDISE_ROWS = 20_000
BASELINE_NEGATIVES_PER_POSITIVE = 10


class FraudWorkload(TrainableWorkload):
    """Simulated or the user's own transactions."""

    name = "fraud"
    settings_type = FraudConfig
    student_type = StudentConfig
    routing_key = "customer_id"
    head: Head = Binary()
    student_sizes: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"architecture": "reader", "width": width, "heads": 4, "feed_forward": width}
        for width in (32, 48, 64, 96)
    )
    baseline_description = "gradient boosting on the same inputs with the last 8 transactions"
    original_sizes: ClassVar[dict[str, Any]] = {
        "width": 256, "layers": 4, "heads": 8, "feed_forward": 1024, "dropout": 0.1,
    }  # fmt: skip
    original_training = TrainConfig(
        epochs=12,
        batch_rows=256,
        learning_rate=6e-4,
        negatives_per_positive=6,
        average_decay=0.998,
        bfloat16=True,
    )

    def __init__(self, config: FraudConfig) -> None:
        self.config = config
        self.original_path = config.original
        if config.data is None:
            self.transactions = simulate(config.simulator)
        else:
            self.transactions = read_transactions(config.data, config.columns)
        tx = self.transactions
        self._features = FraudFeatures.build(tx, config.history_length)
        windows = split(tx, config.split)
        self.train, self.validation, self.test = windows.train, windows.validation, windows.test
        self.labels, self.groups, self.days = tx.fraud, tx.customer, tx.time_days
        k = config.history_length
        self.inputs = (
            _tensor("transaction", (), TRANSACTION_FEATURES),
            _tensor("history", (k,), HISTORY_FEATURES),
        )
        self.outputs = (TensorSpec(name="score", datatype="FP32", shape=(-1,)),)

    @cached_property
    def data_sha256(self) -> str:
        """Hash of the transactions, the split and the history's length."""
        settings = self.config.split.model_dump_json() + str(self.config.history_length)
        return hashlib.sha256((self.transactions.data_hash() + settings).encode()).hexdigest()

    def gather(self, rows: Rows) -> Inputs:
        """transaction float32[m, 20] and history float32[m, k, 7]."""
        return {
            "transaction": self._features.transaction[rows],
            "history": self._features.history(rows),
        }

    def routing_keys(self, rows: Rows) -> npt.NDArray[np.str_]:
        """The customers' own ids, unicode[m]."""
        return self.transactions.customer_ids[self.groups[rows]].astype(np.str_)

    def segments(self, rows: Rows) -> Mapping[str, Segmentation]:
        """By amount, by the terminal's known frauds, by the length of the customer's history."""
        amounts = self.transactions.amount
        return fraud_segments(
            amounts[rows],
            amount_edges(amounts[self.train]),
            self._features.transaction[rows, RISK],
            self._features.earlier(rows),
        )

    def describe(self) -> dict[str, Any]:
        """Source, windows, counts."""
        config = self.config
        counts = {
            name: {"rows": len(rows), "frauds": int(self.labels[rows].sum())}
            for name, rows in (
                ("train", self.train),
                ("validation", self.validation),
                ("test", self.test),
            )
        }
        source: dict[str, Any] = (
            {"simulator": config.simulator.model_dump()}
            if config.data is None
            else {"file": config.data.name}
        )
        return {
            **source,
            "transactions": len(self.labels),
            "split": config.split.model_dump(),
            "history_length": config.history_length,
            "counts": counts,
            "data_sha256": self.data_sha256,
        }

    @property
    def architecture(self) -> dict[str, Any]:
        """The original's sizes."""
        return self._config(self.original_sizes).to_dict()

    def original_body(self, architecture: dict[str, Any]) -> TransactionTransformer:
        """A transformer."""
        given, needed = architecture["history_length"], self.config.history_length
        if given != needed:
            raise RecipeError(
                f"workload.history_length is {needed}, but the original in {self.original_path} "
                f"was trained with {given}: use that, or train another original with: make original"
            )
        return TransactionTransformer(TransformerConfig(**architecture))

    def fit_inputs(self, body: nn.Module, seed: int) -> None:
        """Fit the body's standardisation on `train`."""
        generator = np.random.default_rng(seed)
        rows = generator.choice(self.train, min(STANDARDISE_ROWS, len(self.train)), replace=False)
        model = cast(TransactionTransformer | HistoryReader, body)
        model.fit_inputs(*(torch.from_numpy(array) for array in self.gather(rows).values()))

    def _config(self, sizes: dict[str, Any]) -> TransformerConfig:
        return TransformerConfig(
            transaction_features=len(TRANSACTION_FEATURES),
            history_features=len(HISTORY_FEATURES),
            history_length=self.config.history_length,
            **sizes,
        )

    def student(self, options: dict[str, Any]) -> TransactionTransformer | HistoryReader:
        """A small model; options: those of `StudentConfig`, and a seed."""
        sizes = {**options}
        seed = int(sizes.pop("seed", 0))
        config = StudentConfig.model_validate(sizes)
        torch.manual_seed(seed)
        shared = {name: getattr(config, name) for name in ("width", "heads", "feed_forward")}
        student: TransactionTransformer | HistoryReader
        if config.architecture == "transformer":
            student = TransactionTransformer(self._config({**shared, "layers": config.layers}))
        else:
            student = HistoryReader(self._reader_config(config, shared))
        self.fit_inputs(student, seed)
        return student

    def _reader_config(self, config: StudentConfig, shared: dict[str, int]) -> ReaderConfig:
        k = self.config.history_length
        return ReaderConfig(
            transaction_features=len(TRANSACTION_FEATURES),
            history_features=len(HISTORY_FEATURES),
            history_length=k,
            head_width=config.head_width,
            hops=config.layers,
            recent_rows=min(k, config.recent_rows),
            **shared,
        )

    def baseline_outputs(self, rows: Rows, seed: int) -> Floats:
        """Gradient boosting on the 20 inputs and the flattened recent history."""
        generator = np.random.default_rng(seed)
        labels = self.labels[self.train]
        positives, negatives = self.train[labels], self.train[~labels]
        wanted = min(len(negatives), BASELINE_NEGATIVES_PER_POSITIVE * len(positives))
        pool = np.concatenate((positives, generator.choice(negatives, wanted, replace=False)))
        model = GradientBoostingBaseline()
        model.fit(self._features, pool, self.labels[pool], seed)
        return model.score(self._features, rows)


def _tensor(name: str, steps: tuple[int, ...], features: tuple[str, ...]) -> TensorSpec:
    shape = (-1, *steps, len(features))
    return TensorSpec(name=name, datatype="FP32", shape=shape, features=features)
