"""Files written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from compression.store.filesystem import naming


def write_whole(path: Path, content: bytes) -> None:
    """Write aside and rename: whoever reads `path` sees the old content or the new, never half.

    An OSError names `path`. The folder must be there.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with naming(path):
            aside.write_bytes(content)
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
