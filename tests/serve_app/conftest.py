"""The tiny store, published once per test session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.store import build_store


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with all tiny variants, without the one that needs torch."""
    return build_store(Path(tmp_path_factory.mktemp("store")))
