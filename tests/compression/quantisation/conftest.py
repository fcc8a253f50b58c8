"""One job of each kind, exported once."""

from __future__ import annotations

import pytest

from compression.quantisation import Job
from tests.compression.quantisation.small import SHAPES, job_for, scorer, workload


@pytest.fixture(scope="session")
def jobs() -> dict[str, Job]:
    """By kind: flat, tokens, images."""
    return {kind: job_for(scorer(kind), workload(kind)) for kind in SHAPES}


@pytest.fixture(params=sorted(SHAPES))
def kind(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    name: str = request.param
    return name


@pytest.fixture
def job(jobs: dict[str, Job], kind: str) -> Job:
    """The job of that kind."""
    return jobs[kind]
