"""The catalogue: which variants are served, one immutable, versioned document, replaced whole.

    {"version": 2, "planned": false,
     "entries": [{"config": {"name": "int8", …}, "manifest": {…}}]}

Publishing puts a variant into the store; a change of the catalogue gets it served. The two are
apart on purpose: a variant costs memory in every gateway, and who may publish need not be who may
change what production runs. So there is no watch on the store, which would have to poll an object
store besides, but a request with the admin token, answered once all gateways did as it says.
"""

from __future__ import annotations

import hashlib
import importlib.util
from typing import Self

from pydantic import BaseModel, ConfigDict, PositiveInt

from compression.store import Manifest, ModelStore
from serve_app.config import VariantConfig
from serve_app.errors import UnloadableError

_ENGINE_PACKAGES = {"onnxruntime": "onnxruntime", "torch": "torch"}


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Document):
    """One variant: how it is served, and which publication of it.

    Two publications under one name have different manifests, by their files' hashes at the least.
    """

    config: VariantConfig
    manifest: Manifest

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.config.name

    @property
    def weightable(self) -> bool:
        """Whether a routing table may give weight to it."""
        return self.config.allow_failed_gate or self.manifest.gate.verdict != "failed"


class Catalogue(_Document):
    """All variants that are served, in their order. `version` grows by one with every change."""

    version: PositiveInt = 1
    planned: bool = True
    """Whether it is what the configuration says; False once it was changed at run time."""
    entries: tuple[Entry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in their order."""
        return tuple(entry.name for entry in self.entries)

    @property
    def weightable(self) -> frozenset[str]:
        """Names that a routing table may give weight to."""
        return frozenset(entry.name for entry in self.entries if entry.weightable)

    @property
    def manifests(self) -> dict[str, Manifest]:
        """Manifests by name."""
        return {entry.name: entry.manifest for entry in self.entries}

    def find(self, name: str) -> Entry | None:
        """The entry of that name, None if there is none."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def including(self, entry: Entry) -> Self:
        """The next version with `entry` in the place of the one of its name, or at the end."""
        entries = [entry if entry.name == other.name else other for other in self.entries]
        if entry not in entries:
            entries.append(entry)
        return self._next(tuple(entries))

    def without(self, name: str) -> Self:
        """The next version without the variant `name`."""
        return self._next(tuple(entry for entry in self.entries if entry.name != name))

    def digest(self) -> str:
        """sha256 (hex) of what is served, whatever the version."""
        content = self.model_dump_json(include={"entries"})
        return hashlib.sha256(content.encode()).hexdigest()

    def _next(self, entries: tuple[Entry, ...]) -> Self:
        return self.model_copy(
            update={"version": self.version + 1, "planned": False, "entries": entries}
        )


def read_entry(store: ModelStore, model: str, config: VariantConfig) -> Entry:
    """The variant as it is published now, every file verified. Reads all of them.

    Raises:
        StoreError: it is not published, or is corrupt.
        UnloadableError: what it runs on is not installed here.
    """
    manifest = store.load(model, config.name).manifest
    package = _ENGINE_PACKAGES[manifest.runtime.engine]
    if importlib.util.find_spec(package) is None:
        raise UnloadableError(f"variant {config.name!r} needs {package}, which is not installed")
    return Entry(config=config, manifest=manifest)


def read_manifests(store_uri: str, model: str) -> dict[str, Manifest]:
    """All that is published of a model now, by variant.

    Raises:
        StoreError: it cannot be read.
    """
    store = ModelStore(store_uri)
    store.model(model)  # a store that is gone has no variants, either
    return {name: store.manifest(model, name) for name in store.variants(model)}
