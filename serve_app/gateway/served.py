"""What a gateway serves now, as everything in it that reads about variants sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from compression.store import Manifest, ModelDocument


class Served:
    """The model, and its variants in their order.

    `manifests` is changed in place and at once, between two turns of the event loop: who keeps a
    reference sees the change, and who needs more than that is told through `when_changed`.
    A request that was assigned before a variant went still answers after it; what is read for it
    by the variant's name is read before it is awaited.
    """

    def __init__(
        self, document: ModelDocument, manifests: Mapping[str, Manifest], weightable: Iterable[str]
    ) -> None:
        self.document = document
        self.manifests = dict(manifests)
        self.weightable = frozenset(weightable)
        self.version = 0
        self._listeners: list[Callable[[], None]] = []

    def when_changed(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every change; it must not wait, nor raise."""
        self._listeners.append(listener)

    def change(
        self, manifests: Mapping[str, Manifest], weightable: Iterable[str], version: int
    ) -> None:
        """Serve these from now on; `version` is the catalogue's."""
        self.manifests.clear()
        self.manifests.update(manifests)
        self.weightable = frozenset(weightable)
        self.version = version
        for listener in self._listeners:
            listener()
