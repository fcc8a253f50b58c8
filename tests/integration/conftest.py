"""One application for the whole test session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.server import Server, running
from tests.support.store import build_store

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder talks to real servers."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application with two gateways; tests put the routing table they need in force."""
    folder = tmp_path_factory.mktemp("serving")
    store = build_store(folder / "store", torch_original=True)
    with running(folder, store) as started:
        yield started


@pytest.fixture(params=["haproxy", "direct"])
def door(request: pytest.FixtureRequest, server: Server) -> Server:
    """Where clients knock: at HAProxy, and at the gateways' own port. Both answer alike."""
    return server if request.param == "haproxy" else server.direct
