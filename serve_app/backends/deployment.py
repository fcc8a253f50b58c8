"""A variant as a Ray Serve deployment of its own: the original, or wherever isolation matters.

`ModelServer` is the deployment, `DeploymentBackend` the gateway's side of it. What passes between
them is plain data: arrays go in, a tagged tuple comes back, and no exception crosses the wire.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from compression.store import Manifest, ModelStore
from serve_app.backends.inline import InlineBackend
from serve_app.batching import Computed
from serve_app.config import VariantConfig
from serve_app.errors import BackendUnavailableError, QueueFullError, VariantFailedError
from serve_app.logs import join_serve_log
from serve_app.metrics import Families, Metrics
from serve_app.runners import Arrays, load_variant

_log = logging.getLogger("serve_app")

Reply = tuple[str, Any]
"""("computed", (outputs, queue_seconds, infer_seconds)), ("full", message), ("failed", message)"""

_PROBE_SECONDS = 2.0
_PROBE_PAUSE_SECONDS = 0.2
_UNREACHABLE = (TimeoutError, RayError, RayServeException)


class ModelServer:
    """Serves one variant. Same runner, same batcher as inline."""

    async def __init__(  # type: ignore[misc]  # Ray's actors may have one
        self, store: str, model: str, config: VariantConfig, manifest: Manifest
    ) -> None:
        """`manifest` is the publication that was deployed: another one makes other replicas."""
        join_serve_log()
        replica = serve.get_replica_context().replica_id.unique_id
        self._metrics = Metrics(model, (config.name,), replica=f"{config.name}-{replica}")
        loaded = await asyncio.to_thread(
            load_variant, ModelStore(store), model, config.name, config.intra_op_threads
        )
        if loaded.manifest != manifest:
            _log.warning(
                "variant %s was published anew since it was deployed: deploy again, or its "
                "replicas answer differently", config.name,
            )  # fmt: skip
        observer = self._metrics.batches(config.name)
        self._backend = InlineBackend(loaded, config, observer)

    async def infer(self, inputs: Arrays, rows: int) -> Reply:
        """Compute; see `Reply`."""
        try:
            return "computed", tuple(await self._backend.infer(inputs, rows))
        except QueueFullError as error:
            return "full", str(error)
        except VariantFailedError as error:
            return "failed", str(error)

    async def describe(self) -> dict[str, str]:
        """What it runs on."""
        return await self._backend.describe()

    async def metrics(self) -> tuple[str, Families]:
        """This replica's label and samples."""
        return self._metrics.replica, self._metrics.families()


class DeploymentBackend:
    """Calls a `ModelServer`. One hop costs about a millisecond: measured, not hidden.

    Ray Serve keeps a call waiting for as long as there is no replica. So calls have a time limit,
    and after one that hit it the others are refused at once until a replica answers again.
    """

    placement = "deployment"

    def __init__(self, handle: DeploymentHandle[Any], variant: str, timeout_seconds: float) -> None:
        self._variant = variant
        self._timeout_seconds = timeout_seconds
        # Plain pickle beats the default cloudpickle; nothing here comes from outside the cluster.
        plain = handle.options(request_serialization="pickle", response_serialization="pickle")
        self._infer = plain.infer
        self._describe = plain.describe
        self._away: asyncio.Task[None] | None = None

    async def infer(self, inputs: Arrays, rows: int) -> Computed:
        """See `Backend.infer`."""
        if self._away is not None:
            raise self._unavailable()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                tag, value = await self._infer.remote(inputs, rows)
        except _UNREACHABLE as error:
            _log.warning("variant %s is unavailable: %s", self._variant, error)
            if self._away is None:
                self._away = asyncio.get_running_loop().create_task(self._wait_for_return())
            raise self._unavailable() from error
        if tag == "computed":
            return Computed(*value)
        if tag == "full":
            raise QueueFullError(value)
        raise VariantFailedError(value)

    async def ready(self) -> bool:
        """Whether a replica answers within two seconds."""
        try:
            await self.describe()
        except BackendUnavailableError:
            return False
        return True

    async def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return dict(await self._describe.remote())
        except _UNREACHABLE as error:
            raise self._unavailable() from error

    async def retire(self) -> None:
        """The calls that are under way end by themselves; the replicas are Ray Serve's."""
        if self._away is not None:
            self._away.cancel()

    async def _wait_for_return(self) -> None:
        while not await self.ready():
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)
        _log.info("variant %s answers again", self._variant)
        self._away = None

    def _unavailable(self) -> BackendUnavailableError:
        return BackendUnavailableError(f"variant {self._variant!r} is unavailable: try again")
