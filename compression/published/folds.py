"""The published protocol: four weeks of test, each after a week to train on and a week's gap.

Source: Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible Machine Learning for Credit Card Fraud
Detection - Practical Handbook", 2022, its prequential validation.
"""

from __future__ import annotations

from compression.workloads.fraud.config import FraudConfig
from compression.workloads.fraud.simulator import SimulatorConfig
from compression.workloads.fraud.splits import SplitConfig
from compression.workloads.fraud.workload import FraudWorkload

FOLDS = 4
WEEK_DAYS = 7
CARDS = 100
"""Cards that are looked into a day, in card precision."""


def split_of(fold: int) -> SplitConfig:
    """Windows of fold 0 … FOLDS - 1; defrauded cards leave the test for good, as published."""
    first = SplitConfig.published()
    later = fold * WEEK_DAYS
    return first.model_copy(
        update={
            "train_days": (first.train_days[0] + later, first.train_days[1] + later),
            "test_days": (first.test_days[0] + later, first.test_days[1] + later),
        }
    )


def open_fold(fold: int, simulator: SimulatorConfig) -> FraudWorkload:
    """The workload with that fold's windows; it has no validation rows."""
    return FraudWorkload(FraudConfig(simulator=simulator, split=split_of(fold)))
