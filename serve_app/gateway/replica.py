"""The gateway as a Ray Serve ingress deployment: puts the parts together, and talks to Ray."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import gRPCOptions
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from compression.store import Manifest, ModelDocument, ModelStore
from serve_app.backends.base import Backend
from serve_app.backends.deployment import DeploymentBackend
from serve_app.catalogue import Catalogue, Entry, read_manifests
from serve_app.config import AppConfig, DataPortConfig, GatewayConfig, LimitsConfig
from serve_app.controller import GATEWAY
from serve_app.cores import keep_to
from serve_app.dataport.limits import Limits
from serve_app.dataport.listener import DataPort
from serve_app.errors import InvalidTableError, NotConfirmedError, UnloadableError
from serve_app.garbage import settle
from serve_app.gateway.app import GatewayApp
from serve_app.gateway.control import Changed
from serve_app.gateway.discovery import Ports
from serve_app.gateway.grpc import GrpcDoor, GrpcMethods
from serve_app.gateway.inference import Inference
from serve_app.gateway.lineup import Deployed, Lineup
from serve_app.gateway.predict import Predictor
from serve_app.gateway.served import Served
from serve_app.gateway.shadow import Shadows
from serve_app.logs import join_serve_log
from serve_app.metrics import Families, GatewayMetrics
from serve_app.openapi.example import Example
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import RoutingTable, check_variants
from serve_app.statistics import VariantStatistics

_log = logging.getLogger("serve_app")

_RETRY_SECONDS = 0.5
_REFUSED_SECONDS = 5.0
_GATHER_SECONDS = 2.0
_RETIRED_SECONDS = 5.0
"""After so long nobody waits for a variant that was replaced, by default 2 s at most."""
_GRACE_SECONDS = 3.0
"""For the data port to drain: what Ray Serve's own draining leaves of the time to stop, 5 s."""
_UNREACHABLE = (TimeoutError, RayError, RayServeException)


class RayControl:
    """`Control` through Ray Serve's handles."""

    def __init__(
        self,
        controller: DeploymentHandle[Any],
        models: Mapping[str, DeploymentHandle[Any]],
        metrics: GatewayMetrics,
        config: AppConfig,
    ) -> None:
        self._store, self._model = config.store, config.model
        self._controller = controller
        self._models = models
        self._metrics = metrics
        self._application = serve.get_replica_context().app_name

    async def change_table(self, draft: dict[str, Any], replaces: int) -> Changed:
        """See `Control.change_table`."""
        return await self._asked(self._controller.change.remote(draft, replaces))

    async def load_variant(self, name: str, options: Mapping[str, Any]) -> Changed:
        """See `Control.load_variant`."""
        return await self._asked(self._controller.load_variant.remote(name, dict(options)))

    async def unload_variant(self, name: str) -> Changed:
        """See `Control.unload_variant`."""
        return await self._asked(self._controller.unload_variant.remote(name))

    async def published(self) -> dict[str, Manifest]:
        """See `Control.published`."""
        return await asyncio.to_thread(read_manifests, self._store, self._model)

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

    async def _asked(self, reply: Awaitable[Changed]) -> Changed:
        try:
            return await reply
        except _UNREACHABLE as error:
            raise NotConfirmedError("the controller does not answer: try again") from error

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

    _data_port: DataPort | None = None
    """Known before `__init__`: Ray Serve destroys what it could not start, too."""

    async def __init__(  # type: ignore[misc]  # Ray's actors may have one
        self,
        config: AppConfig,
        controller: DeploymentHandle[Any],
        models: dict[str, DeploymentHandle[Any]],
        document: ModelDocument,
        planned: Catalogue,
    ) -> None:
        """`planned` is not what is served, which the controller says: another one, and the
        gateways start anew with the rest."""
        join_serve_log()
        if config.gateway.cores:
            keep_to(config.gateway.cores)
        self._controller = controller
        replica = serve.get_replica_context().replica_id.unique_id
        self._metrics = GatewayMetrics(config.model, planned.names, f"gateway-{replica}")
        self._served = Served(document)
        store = ModelStore(config.store)
        self._lineup = Lineup(store, self._served, _reached(models), self._metrics)
        backends, thresholds = self._lineup.backends, self._lineup.thresholds
        champion, output = document.champion, document.decision.output
        self._predictor = Predictor(backends, thresholds, champion, output, self._metrics)
        shadows = Shadows(backends, thresholds, output, self._metrics, config.shadow)
        control = RayControl(controller, models, self._metrics, config)
        token = os.environ.get(config.admin_token_env)
        example = await asyncio.to_thread(Example.read, store, config.model)
        data_port = config.gateway.data_port
        ports = Ports(await _grpc_port(), None if data_port is None else data_port.port)
        self._app = GatewayApp(
            config, self._served, self._predictor, shadows, self._metrics, control, token, example,
            ports,
        )  # fmt: skip
        inference = Inference(self._predictor, shadows, self._metrics)
        self._door = GrpcDoor(
            document, self._served.manifests, config.limits, self._predictor, inference,
            self._metrics,
        )  # fmt: skip
        await self._begin()
        shadows.start()
        self._follower = asyncio.get_running_loop().create_task(self._follow())
        settle()
        # Last: who can connect is answered.
        if data_port is not None:
            limits = _port_limits(data_port, config.gateway, config.limits)
            self._data_port = DataPort(self._app, limits, self._metrics.data_port)
            self._data_port.open(data_port.host, data_port.port)

    async def __del__(self) -> None:
        """Ray Serve awaits it when the replica has drained on its side."""
        if self._data_port is not None:
            await self._data_port.close(_GRACE_SECONDS)

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

    async def prepare_catalogue(self, document: dict[str, Any]) -> dict[str, Any]:
        """Hold ready what a catalogue needs; the controller's broadcast calls it."""
        return await self._take(document, self._lineup.prepare)

    async def apply_catalogue(self, document: dict[str, Any]) -> dict[str, Any]:
        """Serve a catalogue from now on; the controller's broadcast calls it."""
        before = self._lineup.version
        taken = await self._take(document, self._lineup.apply)
        if self._lineup.version != before:
            asyncio.get_running_loop().call_later(_RETIRED_SECONDS, settle)
        return taken

    async def metrics(self) -> tuple[str, Families]:
        """This replica's label and samples."""
        return self._metrics.replica, self._metrics.families()

    async def statistics(self) -> tuple[str, dict[str, VariantStatistics]]:
        """This replica's label and what it counted, by variant."""
        return self._metrics.replica, dict(self._metrics.statistics)

    async def _take(
        self, document: dict[str, Any], take: Callable[[Catalogue], Awaitable[None]]
    ) -> dict[str, Any]:
        catalogue = Catalogue.model_validate(document)
        try:
            await take(catalogue)
        except UnloadableError as error:
            _log.warning("catalogue %d refused: %s", catalogue.version, error)
            return {"refused": str(error)}
        return {"version": catalogue.version}

    async def _begin(self) -> None:
        """Load what is served and wait for a table: a gateway must not be sent requests before.

        What was changed while this one loaded is taken over before it counts as started.
        """
        while True:
            try:
                state = await self._controller.current.remote()
            except _UNREACHABLE as error:
                _log.warning("waiting for the controller: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            catalogue = Catalogue.model_validate(state["catalogue"])
            if self._lineup.version == 0:
                await self._lineup.begin(catalogue)
                continue
            await self.apply_catalogue(state["catalogue"])
            reply = await self.apply_table(state["table"])
            if "refused" in reply:
                raise InvalidTableError(reply["refused"])
            return

    async def _follow(self) -> None:
        """Take over what this replica's start, or the controller's, made it miss."""
        while True:
            known = self._known()
            try:
                state = await self._controller.other_than.remote(*known)
            except _UNREACHABLE:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            # A broadcast that came meanwhile is newer than this reply.
            if self._known() != known:
                continue
            if state["catalogue"]["version"] != known[1]:
                taken = await self.apply_catalogue(state["catalogue"])
                if "refused" in taken:
                    await asyncio.sleep(_REFUSED_SECONDS)
            if state["table"]["version"] != known[0]:
                await self.apply_table(state["table"])

    def _known(self) -> tuple[int, int]:
        return self._predictor.assignment.table.version, self._lineup.version


async def _grpc_port() -> int | None:
    """Where clients speak gRPC, None: nowhere. Ray Serve tells it to no one but who asks so."""
    try:
        controller = await asyncio.to_thread(ray.get_actor, SERVE_CONTROLLER_NAME, SERVE_NAMESPACE)
        options: gRPCOptions = await controller.get_grpc_config.remote()
    except (ValueError, RayError) as error:
        _log.warning("GET / will not tell where gRPC is spoken: %s", error)
        return None
    return options.port if options.grpc_servicer_functions else None


def _port_limits(port: DataPortConfig, gateway: GatewayConfig, limits: LimitsConfig) -> Limits:
    return Limits(
        max_body_bytes=limits.max_body_bytes,
        body_timeout_seconds=limits.body_timeout_seconds,
        max_connections=port.max_connections,
        max_in_flight=gateway.max_ongoing_requests,
        keep_alive_seconds=port.keep_alive_seconds,
        max_wait_seconds=port.max_wait_seconds,
        rest_seconds=port.rest_seconds,
    )


def _reached(models: Mapping[str, DeploymentHandle[Any]]) -> Deployed:
    def through(handle: DeploymentHandle[Any]) -> Callable[[Entry], Backend]:
        return lambda entry: DeploymentBackend(handle, entry.config)

    return {name: through(handle) for name, handle in models.items()}
