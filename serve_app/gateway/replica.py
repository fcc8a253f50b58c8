"""The gateway as a Ray Serve ingress deployment: puts the parts together, and talks to Ray."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from compression.store import ModelStore
from serve_app.backends.base import Backend
from serve_app.backends.deployment import DeploymentBackend
from serve_app.backends.inline import InlineBackend
from serve_app.config import AppConfig, VariantConfig
from serve_app.controller import GATEWAY
from serve_app.errors import InvalidTableError, NotConfirmedError
from serve_app.gateway.app import GatewayApp, Served
from serve_app.gateway.control import Changed
from serve_app.gateway.grpc import GrpcDoor, GrpcMethods
from serve_app.gateway.inference import Inference
from serve_app.gateway.predict import Predictor
from serve_app.gateway.shadow import Shadows
from serve_app.logs import join_serve_log
from serve_app.metrics import Families, GatewayMetrics
from serve_app.openapi.example import Example
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import RoutingTable, check_variants
from serve_app.runners import load_variant
from serve_app.statistics import VariantStatistics

_log = logging.getLogger("serve_app")

_RETRY_SECONDS = 0.5
_GATHER_SECONDS = 2.0
_UNREACHABLE = (TimeoutError, RayError, RayServeException)


class RayControl:
    """`Control` through Ray Serve's handles."""

    def __init__(
        self,
        controller: DeploymentHandle[Any],
        models: Mapping[str, DeploymentHandle[Any]],
        metrics: GatewayMetrics,
    ) -> None:
        self._controller = controller
        self._models = models
        self._metrics = metrics
        self._application = serve.get_replica_context().app_name

    async def change_table(self, draft: dict[str, Any], replaces: int) -> Changed:
        """See `Control.change_table`."""
        try:
            changed: Changed = await self._controller.change.remote(draft, replaces)
        except _UNREACHABLE as error:
            raise NotConfirmedError("the controller does not answer: try again") from error
        return changed

    async def gather_metrics(self) -> list[Families]:
        """See `Control.gather_metrics`. Replicas that do not answer in time are left out."""
        return await self._gather("metrics", self._metrics.families())

    async def gather_statistics(self) -> list[Mapping[str, VariantStatistics]]:
        """See `Control.gather_statistics`. Replicas that do not answer in time are left out."""
        return await self._gather("statistics", self._metrics.statistics)

    @property
    def replica(self) -> str:
        """This gateway's label."""
        return self._metrics.replica

    async def _gather(self, method: str, own: Any) -> list[Any]:
        """What `method` of every replica says besides its label; this one's is `own`."""
        siblings = serve.get_deployment_handle(GATEWAY, self._application)
        handles = (siblings, *self._models.values())
        gathered = [own]
        for replies in await asyncio.gather(*(self._ask(handle, method) for handle in handles)):
            gathered += [value for replica, value in replies if replica != self.replica]
        return gathered

    async def _ask(self, handle: DeploymentHandle[Any], method: str) -> list[tuple[str, Any]]:
        try:
            replies = await handle.broadcast(method).results_async(
                timeout_s=_GATHER_SECONDS, return_exceptions=True
            )
        except _UNREACHABLE as error:
            _log.warning("%s of %s are missing: %s", method, handle.deployment_name, error)
            return []
        return [reply for reply in replies if not isinstance(reply, BaseException)]


@serve.ingress()
class Gateway(GrpcMethods):
    """Speaks HTTP and gRPC for one model; serves the inline variants itself."""

    async def __init__(  # type: ignore[misc]  # Ray's actors may have one
        self,
        config: AppConfig,
        controller: DeploymentHandle[Any],
        models: dict[str, DeploymentHandle[Any]],
        served: Served,
    ) -> None:
        join_serve_log()
        self._served = served
        self._controller = controller
        replica = serve.get_replica_context().replica_id.unique_id
        self._metrics = GatewayMetrics(config.model, tuple(served.manifests), f"gateway-{replica}")
        backends = await self._backends(config, models)
        document, manifests = served.document, served.manifests
        output = document.decision.output
        self._predictor = Predictor(backends, document.champion, output, self._metrics)
        thresholds = {name: manifest.decision_threshold for name, manifest in manifests.items()}
        shadows = Shadows(backends, thresholds, output, self._metrics, config.shadow)
        control = RayControl(controller, models, self._metrics)
        token = os.environ.get(config.admin_token_env)
        example = await asyncio.to_thread(Example.read, ModelStore(config.store), config.model)
        self._app = GatewayApp(
            config, served, self._predictor, shadows, self._metrics, control, token, example
        )
        inference = Inference(self._predictor, shadows, self._metrics)
        self._door = GrpcDoor(
            document, manifests, config.limits, self._predictor, inference, self._metrics
        )
        await self._first_table()
        shadows.start()
        self._follower = asyncio.get_running_loop().create_task(self._follow())

    def __serve_build_asgi_app__(self) -> GatewayApp:
        return self._app

    async def apply_table(self, document: dict[str, Any]) -> dict[str, Any]:
        """Put a table in force here; the controller's broadcast calls it."""
        try:
            table = RoutingTable.model_validate(document)
            check_variants(table, self._served.manifests.keys(), self._served.weightable)
        except (InvalidTableError, ValueError) as error:
            _log.warning("routing table refused: %s", error)
            return {"refused": str(error)}
        self._predictor.use(Assignment(table, self._served.document.champion))
        return {"version": table.version}

    async def metrics(self) -> tuple[str, Families]:
        """This replica's label and samples."""
        return self._metrics.replica, self._metrics.families()

    async def statistics(self) -> tuple[str, dict[str, VariantStatistics]]:
        """This replica's label and what it counted, by variant."""
        return self._metrics.replica, dict(self._metrics.statistics)

    async def _backends(
        self, config: AppConfig, models: dict[str, DeploymentHandle[Any]]
    ) -> dict[str, Backend]:
        variants: dict[str, VariantConfig] = {variant.name: variant for variant in config.variants}
        store = ModelStore(config.store)
        backends: dict[str, Backend] = {}
        for name, manifest in self._served.manifests.items():
            self._metrics.set_model_bytes(name, manifest.bytes)
            if name in models:
                backends[name] = DeploymentBackend(
                    models[name], name, variants[name].timeout_seconds
                )
                continue
            own = variants[name]
            loaded = await asyncio.to_thread(
                load_variant, store, config.model, name, own.intra_op_threads, own.max_batch_rows
            )
            backends[name] = InlineBackend(loaded, own, self._metrics.batches(name))
        return backends

    async def _first_table(self) -> None:
        """Wait for the controller: a gateway without a table must not be sent requests."""
        while True:
            try:
                reply = await self.apply_table(await self._controller.current.remote())
            except _UNREACHABLE as error:
                _log.warning("waiting for the controller: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if "refused" in reply:
                raise InvalidTableError(reply["refused"])
            return

    async def _follow(self) -> None:
        """Take over tables that this replica's start, or the controller's, made it miss."""
        while True:
            version = self._predictor.assignment.table.version
            try:
                document = await self._controller.other_than.remote(version)
            except _UNREACHABLE:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            # A broadcast that came meanwhile is newer than this reply.
            if self._predictor.assignment.table.version == version != document["version"]:
                await self.apply_table(document)
