"""The controller: owns routing table and catalogue, keeps them, tells all gateways at once.

It is a Ray Serve deployment of one replica rather than a named actor of our own: Serve restarts
it when it dies, it starts and ends with the application, and gateways reach it by a handle. The
data plane does not need it: gateways go on with what they have while it is away.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from ray import serve

from compression.store import ModelDocument
from serve_app.broadcast import Told, tell
from serve_app.catalogue import Catalogue
from serve_app.errors import ControlError, InvalidTableError, UnloadableError, VariantInUseError
from serve_app.gateway.control import Changed
from serve_app.keeper import Keeper, check_unused
from serve_app.launcher.flags import explain_missing
from serve_app.logs import join_serve_log
from serve_app.routing.state import TableState
from serve_app.routing.table import RoutingTable, TableDraft, check_variants

_log = logging.getLogger("serve_app")

GATEWAY = "Gateway"
CONTROLLER = "Controller"

CONFIRM_SECONDS = 1.0
"""How long a change waits for the gateways to confirm it."""
PREPARE_SECONDS = 120.0
"""How long the gateways may take to load a variant; nothing waits for it but who asked for it."""
LONG_POLL_SECONDS = 5.0


class Controller:
    """One per application."""

    async def __init__(  # type: ignore[misc]  # Ray's actors may have one
        self,
        store: str,
        document: ModelDocument,
        planned: Catalogue,
        initial: TableDraft,
        state_dir: str,
    ) -> None:
        join_serve_log()
        # Here, for there is one controller: each gateway would say it again.
        if (slow := explain_missing(os.environ)) is not None:
            _log.warning(slow)
        self._model, self._champion = document.name, document.champion
        self._application = serve.get_replica_context().app_name
        folder = Path(state_dir) / self._application / self._model
        self._state = TableState(folder)
        self._keeper = await asyncio.to_thread(Keeper, store, document, planned, folder)
        self._loading = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._table = await asyncio.to_thread(self._begin, initial)

    async def current(self) -> dict[str, Any]:
        """Table and catalogue in force."""
        return {
            "table": self._table.model_dump(mode="json"),
            "catalogue": self._keeper.current.model_dump(mode="json"),
        }

    async def other_than(self, table: int, catalogue: int) -> dict[str, Any]:
        """`current()`, as soon as one has another version than given, at the latest in 5 s.

        Gateways that were starting while a change was broadcast catch up through this.
        """
        if (self._table.version, self._keeper.current.version) == (table, catalogue):
            try:
                async with asyncio.timeout(LONG_POLL_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return await self.current()

    async def change(self, draft: dict[str, Any], replaces: int) -> Changed:
        """Put another table in force if the one in force is version `replaces`."""
        async with self._changing:
            if replaces != self._table.version:
                return {"outcome": "stale", "version": self._table.version}
            table = self._versioned(TableDraft.model_validate(draft), self._table.version + 1)
            try:
                self._check(table, self._keeper.current)
            except InvalidTableError as error:
                return _refused(error)
            await asyncio.to_thread(self._state.save, table)
            self._table = table
            self._announce()
            document = table.model_dump(mode="json")
            told = await self._tell("apply_table", table.version, document, CONFIRM_SECONDS)
            _log.info("routing table %d: %s, %s", table.version, told, table.weights)
            return {**_outcome(told), "table": document}

    async def load_variant(self, name: str, options: dict[str, Any]) -> Changed:
        """Serve `name` as it is published now, in the place of what has that name.

        All gateways load it before any of them serves it; where one cannot, nothing changes.
        """
        async with self._loading:
            try:
                wanted = await asyncio.to_thread(self._keeper.with_variant, name, options)
                if wanted == self._keeper.current:
                    return self._unchanged()
                await self._prepare(wanted)
                return await self._put_in_force(wanted)
            except ControlError as error:
                return _refused(error)

    async def unload_variant(self, name: str) -> Changed:
        """Serve `name` no longer; requests that were assigned to it are answered by it."""
        async with self._loading:
            try:
                wanted = self._keeper.without_variant(name)
                return await self._put_in_force(wanted, gone=name)
            except ControlError as error:
                return _refused(error)

    async def _prepare(self, wanted: Catalogue) -> None:
        """Have all gateways load what is wanted; a gateway that is starting does so by itself.

        Raises:
            UnloadableError: one cannot; none of them holds anything of it any more.
        """
        document = wanted.model_dump(mode="json")
        told = await self._tell("prepare_catalogue", wanted.version, document, PREPARE_SECONDS)
        if told.by_all:
            return
        current = self._keeper.current
        dropped = current.model_dump(mode="json")
        await self._tell("prepare_catalogue", current.version, dropped, CONFIRM_SECONDS)
        raise UnloadableError(
            f"{told.confirmed} of {told.gateways} gateways could load it, nothing was changed: "
            + ("; ".join(sorted(set(told.refused))) or "no gateway is there, try again")
        )

    async def _put_in_force(self, wanted: Catalogue, gone: str | None = None) -> Changed:
        async with self._changing:
            if gone is not None:
                check_unused(gone, self._table)
            try:
                self._check(self._table, wanted)
            except InvalidTableError as error:
                raise VariantInUseError(
                    f"routing table {self._table.version} would not hold any more: {error}"
                ) from error
            await asyncio.to_thread(self._keeper.keep, wanted)
            self._announce()
            document = wanted.model_dump(mode="json")
            told = await self._tell("apply_catalogue", wanted.version, document, CONFIRM_SECONDS)
        _log.info("catalogue %d: %s, %s", wanted.version, told, ", ".join(wanted.names))
        return {**_outcome(told), "catalogue": {"version": wanted.version}}

    def _unchanged(self) -> Changed:
        return {"outcome": "changed", "catalogue": {"version": self._keeper.current.version}}

    async def _tell(self, method: str, version: int, document: Any, seconds: float) -> Told:
        return await tell(GATEWAY, self._application, method, version, document, seconds)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _check(self, table: TableDraft, catalogue: Catalogue) -> None:
        check_variants(table, catalogue.names, catalogue.weightable)

    def _versioned(self, draft: TableDraft, version: int) -> RoutingTable:
        content = draft.model_dump(include=set(TableDraft.model_fields))
        return RoutingTable(**content, version=version, model=self._model)

    def _begin(self, initial: TableDraft) -> RoutingTable:
        """The newest kept table, or the configured one where there is none that fits."""
        kept = self._state.latest()
        if kept is not None:
            try:
                self._check(kept, self._keeper.current)
                if kept.model == self._model:
                    return kept
            except InvalidTableError as error:
                _log.warning("routing table %d does not fit any more: %s", kept.version, error)
        try:
            self._check(initial, self._keeper.current)
        except InvalidTableError as error:
            _log.warning("the configured table does not fit the kept catalogue: %s", error)
            initial = TableDraft(weights={self._champion: 1.0})
        table = self._versioned(initial, self._state.highest_version() + 1)
        self._state.save(table)
        return table


def _outcome(told: Told) -> Changed:
    return {
        "outcome": "changed" if told.by_all else "unconfirmed",
        "gateways": told.gateways,
        "confirmed": told.confirmed,
        "refused": list(told.refused),
    }


def _refused(error: ControlError) -> Changed:
    return {"outcome": "refused", "reason": error.reason, "message": str(error)}
