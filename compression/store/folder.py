"""Write a folder aside and rename it into place: others see all of it or nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from compression.store.filesystem import naming


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files (name → content) as a folder; what was there before is replaced.

    An interruption leaves the folder that was there, or none, never a part of the new one. An
    OSError names the folder.
    """
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        with naming(folder):
            for name, content in contents.items():
                (aside / name).write_bytes(content)
            _swap(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what was there before goes, or comes back where this fails."""
    if not folder.exists():
        os.rename(new, folder)
        return
    old = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    try:
        os.rename(folder, old)
        os.rename(new, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
