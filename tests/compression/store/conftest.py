"""A published model, on a local folder and in an object store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.compression.store.published import publish


@pytest.fixture
def memory_uri() -> Iterator[str]:
    """An empty object store."""
    uri = f"memory://store-{uuid.uuid4().hex}"
    yield uri
    filesystem, root = fsspec.core.url_to_fs(uri)
    if filesystem.exists(root):
        filesystem.rm(root, recursive=True)


@pytest.fixture(params=["folder", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, memory_uri: str) -> str:
    """An empty store of either kind."""
    return str(tmp_path / "store") if request.param == "folder" else memory_uri


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local store with one published variant."""
    publish(str(tmp_path / "store"))
    return tmp_path / "store"
