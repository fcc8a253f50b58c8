"""The controller: owns the routing table, keeps every version, tells all gateways at once.

It is a Ray Serve deployment of one replica rather than a named actor of our own: Serve restarts
it when it dies, it starts and ends with the application, and gateways reach it by a handle. The
data plane does not need it: gateways go on with the table they have while it is away.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from serve_app.errors import InvalidTableError
from serve_app.gateway.control import Changed
from serve_app.logs import join_serve_log
from serve_app.routing.state import TableState
from serve_app.routing.table import RoutingTable, TableDraft, check_variants

_log = logging.getLogger("serve_app")

GATEWAY = "Gateway"
CONTROLLER = "Controller"

CONFIRM_SECONDS = 1.0
"""How long a change waits for the gateways to confirm it."""
LONG_POLL_SECONDS = 5.0


class Controller:
    """One per application. `served` and `weightable` are the variants a table may name."""

    async def __init__(  # type: ignore[misc]  # Ray's actors may have one
        self,
        model: str,
        initial: TableDraft,
        served: tuple[str, ...],
        weightable: frozenset[str],
        state_dir: str,
    ) -> None:
        join_serve_log()
        self._model = model
        self._served = served
        self._weightable = weightable
        self._application = serve.get_replica_context().app_name
        self._state = TableState(Path(state_dir) / self._application / model)
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._table = await asyncio.to_thread(self._begin, initial)

    async def current(self) -> dict[str, Any]:
        """The table in force."""
        return self._table.model_dump(mode="json")

    async def other_than(self, version: int) -> dict[str, Any]:
        """The table in force, as soon as it is not `version`, at the latest in 5 s.

        Gateways that were starting while a change was broadcast catch up through this.
        """
        if self._table.version == version:
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
            check_variants(table, self._served, self._weightable)
            await asyncio.to_thread(self._state.save, table)
            self._table = table
            self._changed.set()
            self._changed = asyncio.Event()
            return await self._push(table)

    async def _push(self, table: RoutingTable) -> Changed:
        document = table.model_dump(mode="json")
        gateways = serve.get_deployment_handle(GATEWAY, self._application)
        try:
            replies = await gateways.broadcast("apply_table", document).results_async(
                timeout_s=CONFIRM_SECONDS, return_exceptions=True
            )
        except (TimeoutError, RayError, RayServeException) as error:
            replies = [error]
        confirmed = [reply for reply in replies if reply == {"version": table.version}]
        refused = [
            reply["refused"] if isinstance(reply, dict) else type(reply).__name__
            for reply in replies
            if reply not in confirmed
        ]
        _log.info("routing table %d: %d gateways, %s", table.version, len(replies), table.weights)
        return {
            "outcome": "changed" if replies and not refused else "unconfirmed",
            "table": document,
            "gateways": len(replies),
            "confirmed": len(confirmed),
            "refused": refused,
        }

    def _versioned(self, draft: TableDraft, version: int) -> RoutingTable:
        content = draft.model_dump(include=set(TableDraft.model_fields))
        return RoutingTable(**content, version=version, model=self._model)

    def _begin(self, initial: TableDraft) -> RoutingTable:
        """The newest kept table, or the configured one where there is none that fits."""
        kept = self._state.latest()
        if kept is not None:
            try:
                check_variants(kept, self._served, self._weightable)
                if kept.model == self._model:
                    return kept
            except InvalidTableError as error:
                _log.warning("routing table %d does not fit any more: %s", kept.version, error)
        table = self._versioned(initial, self._state.highest_version() + 1)
        self._state.save(table)
        return table
