"""Small simulated data and a tiny original that several tests read; nothing may write to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compression.techniques.candidate import Candidate, Template
from compression.techniques.context import Context
from compression.training.loop import TrainConfig
from compression.workloads.fraud.config import FraudConfig
from compression.workloads.fraud.features import FraudFeatures
from compression.workloads.fraud.simulator import SimulatorConfig, simulate
from compression.workloads.fraud.transactions import Transactions
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.training import train_original
from compression.workloads.windows import all_or_drawn

TINY_SIZES = {"width": 16, "layers": 2, "heads": 4, "feed_forward": 32, "dropout": 0.1}
TINY_TRAINING = TrainConfig(
    epochs=2, batch_rows=256, learning_rate=6e-3, negatives_per_positive=2, average_decay=0.9
)
HISTORY = 8


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """Tiny matrices gain nothing from threads, and other processes want the cores, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.fixture(scope="session")
def untrained_workload(small_config: SimulatorConfig, tmp_path_factory: Any) -> FraudWorkload:
    """The small data with a history of 8 transactions; nobody trained its original yet."""
    folder = Path(tmp_path_factory.mktemp("untrained")) / "original"
    return FraudWorkload(
        FraudConfig(simulator=small_config, history_length=HISTORY, original=folder)
    )


@pytest.fixture(scope="session")
def tiny_original(
    untrained_workload: FraudWorkload, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of an original of two layers, trained for a second."""
    folder = tmp_path_factory.mktemp("tiny") / "original"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FraudWorkload, "original_sizes", TINY_SIZES)
        train_original(untrained_workload, folder, folder.parent / "work", TINY_TRAINING)
    return folder


@pytest.fixture(scope="session")
def tiny_settings(small_config: SimulatorConfig, tiny_original: Path) -> dict[str, Any]:
    """The workload as a recipe names it."""
    return {
        "name": "fraud",
        "simulator": small_config.model_dump(
            mode="json", include={"seed", "customers", "terminals", "radius"}
        ),
        "history_length": HISTORY,
        "original": str(tiny_original),
    }


@pytest.fixture(scope="session")
def tiny_workload(tiny_settings: dict[str, Any]) -> FraudWorkload:
    """The small data and its trained original."""
    settings = {key: value for key, value in tiny_settings.items() if key != "name"}
    return FraudWorkload(FraudConfig.model_validate(settings))


@pytest.fixture(scope="session")
def candidate(tiny_workload: FraudWorkload) -> Candidate:
    """Where every chain begins. Techniques leave it as it is."""
    return Candidate(Template("original"), tiny_workload.original())


@pytest.fixture(scope="session")
def shared_context(
    tiny_workload: FraudWorkload, tmp_path_factory: pytest.TempPathFactory
) -> Context:
    """For techniques: all validation rows, and a work folder that fills as they run."""
    rows = all_or_drawn(tiny_workload, tiny_workload.validation, None, 0)
    return Context(tiny_workload, 0, tmp_path_factory.mktemp("work"), rows)


@pytest.fixture
def context(shared_context: Context, tmp_path: Path) -> Context:
    """The same with an empty work folder."""
    return replace(shared_context, work=tmp_path / "work")


@pytest.fixture(scope="session")
def tiny_graph(shared_context: Context, candidate: Candidate) -> bytes:
    """The tiny original as ONNX."""
    return shared_context.float_graph(candidate.module)
