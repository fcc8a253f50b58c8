"""`load.json`: everything a comparison measured, saved after every step so that it can resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from loadtest.documents import Document
from loadtest.environment import Environment
from loadtest.errors import OptionError
from loadtest.measurement import ClosedResult, Histograms, Measurement
from loadtest.plan import Profile
from loadtest.processes import ResourceUse
from loadtest.search import SearchResult
from loadtest.server import ServerIdentity
from loadtest.validity import Limits

LOAD_FILE = "load.json"
HISTOGRAM_FILE = "histograms.json"


class Settings(Document):
    """What was asked for. Two runs with equal settings against the same server run are one."""

    url: str
    store: str
    model: str
    variants: tuple[str, ...]
    artifacts: dict[str, str]
    """Variant → content hash of its manifest."""
    profile: Profile
    rounds: PositiveInt
    rows_per_request: PositiveInt
    limits: Limits
    arrival: str
    seed: int
    budget_seconds: PositiveFloat | None


class Scout(Document):
    """First look at a variant: one connection alone, then sixteen that saturate it."""

    single: ClosedResult
    saturated: ClosedResult


class CountedRun(Document):
    """An open-loop run with what the serving processes used for it, where that can be seen."""

    measurement: Measurement
    use: ResourceUse | None


class Cell(Document):
    """One variant in one round."""

    variant: str
    round: int
    low: CountedRun
    search: SearchResult
    busy: CountedRun | None
    curve: tuple[Measurement, ...] = ()


class RawHistogram(Document):
    """Encoded histograms of one run, for whoever wants other quantiles."""

    variant: str
    round: int
    kind: Literal["low", "busy"]
    rate_per_second: float
    histograms: Histograms


class LoadDocument(Document):
    """The file's content."""

    schema_version: Literal[1] = 1
    settings: Settings
    server: ServerIdentity
    environment: Environment
    started_at: str
    finished_at: str | None = None
    scouts: dict[str, Scout] = Field(default_factory=dict)
    common_rate_per_second: float | None = None
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()

    def cell(self, variant: str, round_number: int) -> Cell | None:
        """What was measured for a variant in a round, if it was."""
        wanted = (variant, round_number)
        return next((c for c in self.cells if (c.variant, c.round) == wanted), None)

    def of(self, variant: str) -> list[Cell]:
        """A variant's rounds, in order."""
        return sorted((c for c in self.cells if c.variant == variant), key=lambda c: c.round)


class Ledger:
    """The folder that `load.json` and `histograms.json` are kept in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.histograms: list[RawHistogram] = []

    @property
    def path(self) -> Path:
        """Where `load.json` is."""
        return self.folder / LOAD_FILE

    def read(self) -> LoadDocument:
        """The document on disk.

        Raises:
            OptionError: it is missing, or of another release.
        """
        try:
            return LoadDocument.model_validate_json(self.path.read_bytes())
        except OSError as error:
            raise OptionError(f"{self.path}: {error.strerror}: run compare first") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise OptionError(f"{self.path}: {where}: {first['msg']}; use --fresh") from error

    def resume(self, new: LoadDocument) -> tuple[LoadDocument, str]:
        """What was saved, if it belongs to this run; else `new` and the reason, for the user.

        A document of another run is moved aside, not overwritten.
        """
        if not self.path.exists():
            return new, ""
        try:
            old = self.read()
        except OptionError:
            return self._aside(new, "it is of another release")
        if old.server != new.server:
            return self._aside(new, "the server was started anew since")
        if old.settings != new.settings:
            return self._aside(new, "the settings or the store have changed since")
        self._read_histograms()
        done = f"{len(old.cells)} of {len(new.settings.variants) * new.settings.rounds}"
        return old, f"resuming {self.path}: {done} steps are done (--fresh measures them again)"

    def _aside(self, new: LoadDocument, reason: str) -> tuple[LoadDocument, str]:
        previous = self.path.with_suffix(".previous.json")
        os.replace(self.path, previous)
        return new, f"the earlier results are kept as {previous}: {reason}"

    def _read_histograms(self) -> None:
        path = self.folder / HISTOGRAM_FILE
        if path.exists():
            entries = json.loads(path.read_bytes())
            self.histograms = [RawHistogram.model_validate(entry) for entry in entries]

    def load_histograms(self) -> list[RawHistogram]:
        """The histograms saved beside the document; empty where there are none."""
        self._read_histograms()
        return self.histograms

    def save(self, document: LoadDocument) -> None:
        """Write both files, each whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        histograms = json.dumps([entry.model_dump() for entry in self.histograms], indent=1)
        write_whole(self.folder / HISTOGRAM_FILE, histograms)
        write_whole(self.path, document.model_dump_json(indent=1))


def write_whole(path: Path, content: str) -> None:
    """Write a file aside and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    aside.write_text(content, encoding="utf-8")
    os.replace(aside, path)
