"""Workloads: a model, its data and how its quality is judged. `base` says what one must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from compression.workloads.base import Workload
from compression.workloads.fraud.config import FraudConfig, StudentConfig
from compression.workloads.fraud.workload import FraudWorkload


@dataclass(frozen=True)
class WorkloadKind:
    """A workload's settings and its class, which is built from them."""

    config: type[BaseModel]
    student: type[BaseModel]
    """Options of a student, as recipes give them to `train` and `distill`."""
    build: Any

    def open(self, settings: dict[str, Any]) -> Workload:
        """Load or make the data."""
        workload: Workload = self.build(self.config.model_validate(settings))
        return workload


WORKLOADS: dict[str, WorkloadKind] = {
    "fraud": WorkloadKind(FraudConfig, StudentConfig, FraudWorkload)
}
