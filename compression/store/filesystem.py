"""Where a store lies: a local folder or any fsspec URI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec.core

from compression.store.errors import StoreUnavailableError


def open_filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec filesystem of `uri`, and the path of the store's root in it.

    Raises:
        StoreUnavailableError: no such protocol, or the package that speaks it is not installed.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise StoreUnavailableError(
            f"cannot open store {uri}: {error}. Give a folder, or a URI that fsspec knows"
        ) from error
    return filesystem, str(root).rstrip("/")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError from inside says which file it is about, where it does not: a full disk is
    noticed when bytes are written, and that error knows no name."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = error.filename or str(path)
        raise
