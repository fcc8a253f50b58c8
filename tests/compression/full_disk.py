"""A disk that is full at chosen writes: half of the bytes go down, then the error comes."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ASIDE = re.compile(r"\.?[0-9a-f]{32}")


def fill_disk(patch: pytest.MonkeyPatch, is_full: Callable[[str], bool]) -> None:
    """Let writes fail where `is_full(target)`; a target is a path without the marks of an aside."""
    write_bytes, savez = Path.write_bytes, np.savez_compressed

    def write(path: Path, content: bytes) -> int:
        if is_full(ASIDE.sub("", str(path))):
            write_bytes(path, bytes(content)[: len(content) // 2])
            raise _no_space()
        return write_bytes(path, content)

    def save(file: Any, *arguments: Any, **named: Any) -> None:
        # In memory, as samples are packed, there is no disk to be full.
        if hasattr(file, "name") and is_full(ASIDE.sub("", str(file.name))):
            file.write(b"PK")
            raise _no_space()
        savez(file, *arguments, **named)

    patch.setattr(Path, "write_bytes", write)
    patch.setattr(np, "savez_compressed", save)


def _no_space() -> OSError:
    """As `write` raises it: without a file's name."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
