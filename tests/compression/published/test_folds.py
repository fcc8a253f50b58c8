from __future__ import annotations

from itertools import pairwise

import numpy as np

from compression.published.folds import FOLDS, open_fold, split_of
from compression.workloads.fraud.simulator import SimulatorConfig


def test_a_fold_trains_on_a_week_leaves_a_week_out_and_tests_on_the_next() -> None:
    splits = [split_of(fold) for fold in range(FOLDS)]
    for earlier, later in pairwise(splits):
        assert later.train_days[0] == earlier.train_days[0] + 7
    for split in splits:
        assert split.train_days[1] - split.train_days[0] == 6
        assert split.test_days[0] - split.train_days[1] == 8
        assert split.test_days[1] - split.test_days[0] == 6
        assert split.known_fraud_memory_days is None


def test_known_defrauded_cards_are_not_in_the_test() -> None:
    simulator = SimulatorConfig(
        seed=1, customers=300, terminals=600, radius=20.0, scenarios="published"
    )
    workload = open_fold(1, simulator)
    trained, tested = workload.days[workload.train], workload.days[workload.test]
    assert (trained.min(), trained.max()) == (122, 128)
    assert (tested.min(), tested.max()) == (136, 142)
    defrauded = workload.groups[workload.train][workload.labels[workload.train]]
    assert len(defrauded)
    assert not np.isin(workload.groups[workload.test], defrauded).any()
