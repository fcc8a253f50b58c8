"""Where a store lies: a local folder or any fsspec URI."""

from __future__ import annotations

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
