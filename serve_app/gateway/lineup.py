"""The variants one gateway serves, changed while it serves them.

A change has two halves. `prepare` loads, checks and warms up what is missing, in a thread, while
requests go on; `apply` swaps it in between two turns of the event loop. What was swapped out
answers the requests it has and is then let go, its session with it.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Mapping
from typing import NamedTuple

from compression.store import ModelStore, StoreError
from serve_app.backends.absent import AbsentBackend
from serve_app.backends.base import Backend
from serve_app.backends.inline import InlineBackend
from serve_app.catalogue import Catalogue, Entry
from serve_app.errors import SelfCheckError, UnloadableError
from serve_app.gateway.served import Served
from serve_app.metrics import GatewayMetrics
from serve_app.runners import LoadedVariant, load_variant

_log = logging.getLogger("serve_app")

Deployed = Mapping[str, Callable[[Entry], Backend]]
"""How to reach the variants that are deployments of their own, by name."""


class _Placed(NamedTuple):
    entry: Entry
    backend: Backend


class Lineup:
    """Keeps `backends`, `thresholds` and `served` at one catalogue.

    All three are changed in place: who holds a reference sees every change, whole. Thresholds
    stay when their variant goes, for requests that it still answers.
    """

    def __init__(
        self, store: ModelStore, served: Served, deployed: Deployed, metrics: GatewayMetrics
    ) -> None:
        self.backends: dict[str, Backend] = {}
        self.thresholds: dict[str, float] = {}
        self.served = served
        self._store = store
        self._model = served.document.name
        self._deployed = deployed
        self._metrics = metrics
        self._entries: dict[str, Entry] = {}
        self._prepared: dict[str, _Placed] = {}
        self._changing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._loaded: weakref.WeakSet[InlineBackend] = weakref.WeakSet()
        metrics.loaded_variants.set_function(lambda: len(self._loaded))

    @property
    def version(self) -> int:
        """Version of the catalogue that is served, 0 before the first."""
        return self.served.version

    async def begin(self, catalogue: Catalogue) -> None:
        """Serve the first catalogue.

        What cannot be loaded ends the start if the configuration wants it, or if it is the
        champion. Of a catalogue that was changed at run time it is left to the champion: the store
        may have moved on since, and a gateway too few is worse.

        Raises:
            StoreError, SelfCheckError, UnloadableError: see `load_variant`.
        """
        for entry in catalogue.entries:
            self._prepared[entry.name] = _Placed(entry, await self._first(entry, catalogue.planned))
        self._swap(catalogue)

    async def prepare(self, catalogue: Catalogue) -> None:
        """Hold ready what `catalogue` has besides what is served, and nothing else.

        Raises:
            UnloadableError: a variant cannot be loaded; the message names it.
        """
        async with self._changing:
            await self._prepare(catalogue)

    async def apply(self, catalogue: Catalogue) -> None:
        """Serve `catalogue` from now on; what was not prepared is loaded first.

        Raises:
            UnloadableError: a variant cannot be loaded; nothing was changed.
        """
        async with self._changing:
            if catalogue.version == self.version:
                return
            await self._prepare(catalogue)
            self._swap(catalogue)

    async def _prepare(self, catalogue: Catalogue) -> None:
        held, self._prepared = self._prepared, {}
        for entry in catalogue.entries:
            if self._entries.get(entry.name) == entry and not self._is_absent(entry.name):
                continue
            placed = held.get(entry.name)
            if placed is None or placed.entry != entry:
                placed = _Placed(entry, await self._checked(entry))
            self._prepared[entry.name] = placed

    def _is_absent(self, name: str) -> bool:
        return isinstance(self.backends[name], AbsentBackend)

    async def _first(self, entry: Entry, planned: bool) -> Backend:
        champion = entry.name == self.served.document.champion
        try:
            return await self._open(entry, any_publication=champion)
        except UnloadableError as error:
            reason: Exception = error
        except (StoreError, SelfCheckError) as error:
            if planned or champion:
                raise
            reason = error
        _log.error("variant %s is left to the champion here: %s", entry.name, reason)
        return AbsentBackend(entry.name)

    async def _checked(self, entry: Entry) -> Backend:
        try:
            return await self._open(entry)
        except (StoreError, SelfCheckError) as error:
            raise UnloadableError(str(error)) from error

    async def _open(self, entry: Entry, *, any_publication: bool = False) -> Backend:
        if entry.config.placement == "deployment":
            return self._reach(entry)
        threads, rows = entry.config.intra_op_threads, entry.config.max_batch_rows
        loaded = await asyncio.to_thread(
            load_variant, self._store, self._model, entry.name, threads, rows
        )  # fmt: skip
        if loaded.manifest != entry.manifest:
            self._other_publication(loaded, any_publication)
        backend = InlineBackend(loaded, entry.config, self._metrics.batches(entry.name))
        self._loaded.add(backend)
        return backend

    def _reach(self, entry: Entry) -> Backend:
        reach = self._deployed.get(entry.name)
        if reach is None:
            raise UnloadableError(
                f"variant {entry.name!r} is a deployment that this gateway was not deployed with"
            )
        return reach(entry)

    def _other_publication(self, loaded: LoadedVariant, allowed: bool) -> None:
        message = (
            f"variant {loaded.manifest.name!r} was published anew since the gateways loaded it: "
            "load it again, so that all have the same"
        )
        if not allowed:
            raise UnloadableError(message)
        _log.error(message)

    def _swap(self, catalogue: Catalogue) -> None:
        """All at once: nothing here waits."""
        before = dict(self.backends)
        prepared, self._prepared = self._prepared, {}
        self.backends.clear()
        for entry in catalogue.entries:
            name = entry.name
            placed = prepared.get(name)
            self.backends[name] = before[name] if placed is None else placed.backend
            self.thresholds[name] = entry.manifest.decision_threshold
            self._metrics.add_variant(name)
            self._metrics.set_model_bytes(name, entry.manifest.bytes)
        for name in before.keys() - self.backends.keys():
            self._metrics.clear_model_bytes(name)
        self._entries = {entry.name: entry for entry in catalogue.entries}
        self.served.change(catalogue)
        self._metrics.catalogue_version.set(catalogue.version)
        for name, backend in before.items():
            if self.backends.get(name) is not backend:
                self._retire(backend)

    def _retire(self, backend: Backend) -> None:
        task = asyncio.get_running_loop().create_task(backend.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
