from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from compression.workloads.fraud.boosting import GradientBoostingBaseline
from compression.workloads.fraud.features import FraudFeatures
from compression.workloads.fraud.splits import Split, SplitConfig, split
from compression.workloads.fraud.transactions import Transactions


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """OpenMP threads that wait for a busy core make a fit of a second last for half a minute."""
    with threadpool_limits(1, "openmp"):
        yield


@pytest.fixture(scope="module")
def parts(small_transactions: Transactions) -> Split:
    return split(small_transactions, SplitConfig())


def _fitted(
    tx: Transactions, features: FraudFeatures, parts: Split, **settings: int
) -> GradientBoostingBaseline:
    rows = parts.train[::4]
    model = GradientBoostingBaseline(iterations=20, **settings)
    return model.fit(features, rows, tx.fraud[rows], seed=0)


def test_finds_frauds_and_repeats_itself(
    small_transactions: Transactions, small_features: FraudFeatures, parts: Split
) -> None:
    scores = _fitted(small_transactions, small_features, parts).score(small_features, parts.test)
    assert scores.dtype == np.float32
    assert scores.shape == parts.test.shape
    assert scores.min() >= 0
    assert scores.max() <= 1
    labels = small_transactions.fraud[parts.test]
    assert average_precision_score(labels, scores) > labels.mean() + 0.2
    again = _fitted(small_transactions, small_features, parts, rows_at_once=999)
    np.testing.assert_array_equal(again.score(small_features, parts.test), scores)


def test_scores_no_rows(
    small_transactions: Transactions, small_features: FraudFeatures, parts: Split
) -> None:
    model = _fitted(small_transactions, small_features, parts)
    assert model.score(small_features, np.zeros(0, np.int64)).shape == (0,)


def test_must_be_fitted(small_features: FraudFeatures) -> None:
    with pytest.raises(RuntimeError, match="call fit first"):
        GradientBoostingBaseline().score(small_features, np.arange(3))
