"""A verification workload of a few small pictures, and its original, trained for a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from compression.training.loop import TrainConfig
from compression.workloads.training import train_original
from compression.workloads.verification.config import VerificationConfig
from compression.workloads.verification.workload import VerificationWorkload

TINY_SIZES = {"widths": [8, 16], "convolutions": 1, "embedding": 16}
TINY_TRAINING = TrainConfig(
    epochs=3, batch_rows=64, learning_rate=5e-3, negatives_per_positive=2, average_decay=0.9
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: threads that wait for a busy core cost more than they bring."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def tiny_pictures() -> dict[str, Any]:
    """Settings of pictures that are easy to tell apart."""
    return {
        "pictures": {"size": 16, "pictures": 6, "pose": 0.3, "covered": 0.1, "kinship": 0.4},
        "families": {"train": 30, "validation": 8, "test": 12, "a_day": 2},
    }


@pytest.fixture(scope="session")
def trained_folder(tiny_pictures: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verification") / "original"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VerificationWorkload, "original_sizes", TINY_SIZES)
        config = VerificationConfig.model_validate({**tiny_pictures, "original": folder})
        workload = VerificationWorkload(config)
        train_original(workload, folder, folder.parent / "work", TINY_TRAINING)
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_pictures: dict[str, Any], trained_folder: Path) -> dict[str, Any]:
    """The workload as a recipe names it."""
    return {"name": "verification", **tiny_pictures, "original": str(trained_folder)}


@pytest.fixture(scope="session")
def workload(tiny_settings: dict[str, Any]) -> VerificationWorkload:
    settings = {key: value for key, value in tiny_settings.items() if key != "name"}
    return VerificationWorkload(VerificationConfig.model_validate(settings))
