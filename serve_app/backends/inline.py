"""A variant inside the gateway replica: for models where a hop costs more than the inference."""

from __future__ import annotations

import asyncio
import logging

from serve_app.batching import Batcher, BatchObserver, Computed
from serve_app.config import VariantConfig
from serve_app.errors import ServingError, VariantFailedError
from serve_app.runners import Arrays, LoadedVariant
from serve_app.sizes import Sizes, batch_rows_for, direct_rows_for, lanes_for, queued_rows_for
from serve_app.terms import ANYBODY, Terms

_log = logging.getLogger("serve_app")

_RETIRING_PAUSE_SECONDS = 0.01


class InlineBackend:
    """Runner and batcher in this process."""

    placement = "inline"

    def __init__(
        self, loaded: LoadedVariant, config: VariantConfig, observer: BatchObserver | None = None
    ) -> None:
        self.manifest = loaded.manifest
        self._runner = loaded.runner
        a_row = loaded.seconds_per_row
        direct_rows = direct_rows_for(loaded.seconds_per_call, a_row)
        batch_rows = config.max_batch_rows or batch_rows_for(a_row)
        queued_rows = config.max_queued_rows or queued_rows_for(a_row, config.timeout_seconds)
        lanes = (
            lanes_for(loaded.seconds_per_call, a_row, batch_rows) if self._runner.parallel else 1
        )
        self.sizes = Sizes(batch_rows, queued_rows)
        self._batcher = Batcher(
            loaded.runner.run,
            name=config.name,
            max_batch_rows=batch_rows,
            max_queued_rows=queued_rows,
            timeout_seconds=config.timeout_seconds,
            direct_rows=direct_rows,
            lanes=lanes,
            aside=loaded.aside,
            observer=observer,
        )
        _log.info(
            "variant %s: %s, %.0f µs a call + %.1f µs a row; batches of at most %d rows, on the "
            "event loop up to %d, %d under way in %s, %d rows may wait",
            config.name, loaded.runner.detail, loaded.seconds_per_call * 1e6, a_row * 1e6,
            batch_rows, direct_rows, lanes,
            "threads" if loaded.aside is None else "the runtime's own thread", queued_rows,
        )  # fmt: skip

    async def infer(self, inputs: Arrays, rows: int, terms: Terms = ANYBODY) -> Computed:
        """See `Backend.infer`."""
        try:
            return await self._batcher.submit(inputs, rows, terms)
        except ServingError:
            raise
        except Exception as error:
            # The runtime's message may name nodes of the graph: for the log, not for the caller.
            _log.warning("variant %s failed: %s", self.manifest.name, error)
            raise VariantFailedError(f"variant {self.manifest.name!r} failed") from error

    async def ready(self) -> bool:
        """Always: it was checked when it was loaded."""
        return True

    async def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {"platform": self._runner.platform, "detail": self._runner.detail}

    async def retire(self) -> None:
        """See `Backend.retire`. Who held it last lets the runtime's session go with it."""
        while not self._batcher.idle:
            await asyncio.sleep(_RETIRING_PAUSE_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Stop the batcher."""
        await self._batcher.close()
