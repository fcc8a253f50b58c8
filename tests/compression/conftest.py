"""Small simulated data that several tests read; nothing may write to them."""

import pytest

from compression.workloads.fraud.features import FraudFeatures
from compression.workloads.fraud.simulator import SimulatorConfig, simulate
from compression.workloads.fraud.transactions import Transactions


@pytest.fixture(scope="session")
def small_config() -> SimulatorConfig:
    """300 customers, 183 days, both extended patterns; about 110,000 transactions."""
    return SimulatorConfig(seed=1, customers=300, terminals=600, radius=20.0)


@pytest.fixture(scope="session")
def small_transactions(small_config: SimulatorConfig) -> Transactions:
    return simulate(small_config)


@pytest.fixture(scope="session")
def small_features(small_transactions: Transactions) -> FraudFeatures:
    """With a history of 32 transactions."""
    return FraudFeatures.build(small_transactions)
