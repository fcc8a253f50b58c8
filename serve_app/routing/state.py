"""Every version of a routing table, kept as JSON files; the newest is the one in force.

    <state_dir>/<application>/<model>/table-00000003.json

A version is written aside and linked into place, so that a crash leaves the old version or the
new one, and a version number is never given to two tables.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from pydantic import ValidationError

from serve_app.routing.table import RoutingTable

_log = logging.getLogger("serve_app")


class TableState:
    """The tables of one model, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, table: RoutingTable) -> None:
        """Keep a version.

        Raises:
            FileExistsError: the version exists already.
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._path(table.version)
        aside = target.with_suffix(f".{os.getpid()}.aside")
        try:
            with aside.open("wb") as file:
                file.write(table.model_dump_json(indent=2).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(aside, target)
        finally:
            aside.unlink(missing_ok=True)

    def latest(self) -> RoutingTable | None:
        """The newest version that can be read; one that cannot is reported and passed over."""
        for path in sorted(self.folder.glob("table-*.json"), reverse=True):
            try:
                return RoutingTable.model_validate_json(path.read_bytes())
            except (ValidationError, OSError) as error:
                _log.warning("routing table %s cannot be read: %s", path, error)
        return None

    def highest_version(self) -> int:
        """The highest version number in use, 0 if there is none."""
        versions = (path.stem.removeprefix("table-") for path in self.folder.glob("table-*.json"))
        return max((int(version) for version in versions if version.isdigit()), default=0)

    def _path(self, version: int) -> Path:
        return self.folder / f"table-{version:08d}.json"
