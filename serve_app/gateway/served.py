"""What a gateway serves now, as everything in it that reads about variants sees it."""

from __future__ import annotations

from collections.abc import Callable

from compression.store import Manifest, ModelDocument
from serve_app.catalogue import Catalogue
from serve_app.config import VariantConfig


class Served:
    """The model, and its variants in their order; none before the first change.

    `manifests` and `configs` are changed in place and at once, between two turns of the event
    loop: who keeps a reference sees the change, and who needs more than that is told through
    `when_changed`.
    A request that was assigned before a variant went still answers after it; what is read for it
    by the variant's name is read before it is awaited.
    """

    def __init__(self, document: ModelDocument) -> None:
        self.document = document
        self.manifests: dict[str, Manifest] = {}
        self.configs: dict[str, VariantConfig] = {}
        self.weightable: frozenset[str] = frozenset()
        self.version = 0
        self._listeners: list[Callable[[], None]] = []

    def when_changed(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every change; it must not wait, nor raise."""
        self._listeners.append(listener)

    def change(self, catalogue: Catalogue) -> None:
        """Serve what it names from now on."""
        self.manifests.clear()
        self.manifests.update(catalogue.manifests)
        self.configs.clear()
        self.configs.update({entry.name: entry.config for entry in catalogue.entries})
        self.weightable = catalogue.weightable
        self.version = catalogue.version
        for listener in self._listeners:
            listener()
