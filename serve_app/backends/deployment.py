"""A variant as a Ray Serve deployment of its own: the original, or wherever isolation matters.

`ModelServer` is the deployment, `DeploymentBackend` the gateway's side of it. What passes between
them is plain data: requests go in, a tagged tuple for each comes back, and no exception crosses the
wire.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from compression.store import Manifest, ModelStore
from serve_app.backends.grouping import Groups, Outcome
from serve_app.backends.inline import InlineBackend
from serve_app.batching import Computed
from serve_app.config import VariantConfig
from serve_app.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    QueueFullError,
    ServingError,
    VariantFailedError,
)
from serve_app.fairness import Waiting
from serve_app.garbage import settle
from serve_app.logs import join_serve_log
from serve_app.metrics import Families, Metrics
from serve_app.runners import Arrays, load_variant
from serve_app.sizes import BATCH_ROWS, QUEUED_ROWS, Sizes
from serve_app.statistics import VariantStatistics
from serve_app.terms import ANYBODY, Terms, seconds_left

_log = logging.getLogger("serve_app")

Request = tuple[Arrays, int, str, float]
"""Inputs, rows, caller, and the seconds that are left."""
Reply = tuple[str, Any]
"""("computed", (outputs, queue_seconds, infer_seconds)), ("full", (message, retry_after_seconds)),
("late", message) or ("failed", message)"""
Replies = tuple[int, int, list[Reply]]
"""The replica's `Sizes`, and a reply for each request."""

_CALLS_PER_REPLICA = 2
"""One is computed while the next is on its way. With 1, 2 or 4 there was no difference that was
larger than the noise, on 2 cores and from 1 to 256 connections."""

_GRACE_SECONDS = 0.25
"""A replica answers by the configured limit, if only to say that it passed; after this it is
away."""
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
            load_variant, ModelStore(store), model, config.name, config.intra_op_threads,
            config.max_batch_rows,
        )  # fmt: skip
        if loaded.manifest != manifest:
            _log.warning(
                "variant %s was published anew since it was deployed: deploy again, or its "
                "replicas answer differently", config.name,
            )  # fmt: skip
        observer = self._metrics.batches(config.name)
        self._backend = InlineBackend(loaded, config, observer)
        settle()

    async def infer(self, requests: Sequence[Request]) -> Replies:
        """Compute each request for its caller and within its seconds: one beside the other."""
        return *self._backend.sizes, await asyncio.gather(
            *(self._answer(*request) for request in requests)
        )

    async def describe(self) -> dict[str, str]:
        """What it runs on."""
        return await self._backend.describe()

    async def metrics(self) -> tuple[str, Families]:
        """This replica's label and samples."""
        return self._metrics.replica, self._metrics.families()

    async def statistics(self) -> tuple[str, dict[str, VariantStatistics]]:
        """This replica's label and what it counted, by variant."""
        return self._metrics.replica, dict(self._metrics.statistics)

    async def _answer(self, inputs: Arrays, rows: int, caller: str, seconds: float) -> Reply:
        terms = Terms(caller, time.perf_counter() + seconds)
        try:
            return "computed", tuple(await self._backend.infer(inputs, rows, terms))
        except QueueFullError as error:
            return "full", (str(error), error.retry_after_seconds)
        except DeadlineExceededError as error:
            return "late", str(error)
        except VariantFailedError as error:
            return "failed", str(error)


class DeploymentBackend:
    """Calls a `ModelServer`. One hop costs about a millisecond: measured, not hidden.

    Requests share calls (`grouping.py`), but for large ones and where replicas follow the load: Ray
    Serve counts calls to know it, so there each request has one of its own.

    Ray Serve keeps a call waiting for as long as there is no replica. So requests have a time
    limit, and after one that hit it the others are refused at once until a replica answers again. A
    limit that a caller shortened proves nothing by itself: then a replica is asked whether it is
    there.
    """

    placement = "deployment"

    def __init__(self, handle: DeploymentHandle[Any], config: VariantConfig) -> None:
        self._variant = config.name
        self._timeout_seconds = config.timeout_seconds
        # Plain pickle beats the default cloudpickle; nothing here comes from outside the cluster.
        plain = handle.options(request_serialization="pickle", response_serialization="pickle")
        self._infer = plain.infer
        self._describe = plain.describe
        self._groups = Groups(
            self._send,
            name=config.name,
            calls=_CALLS_PER_REPLICA * config.num_replicas,
            sizes=Sizes(config.max_batch_rows or BATCH_ROWS, config.max_queued_rows or QUEUED_ROWS),
        )
        self._grouped = config.autoscaling is None
        self._away = False
        self._probe: asyncio.Task[None] | None = None

    async def infer(self, inputs: Arrays, rows: int, terms: Terms = ANYBODY) -> Computed:
        """See `Backend.infer`."""
        if self._away:
            raise self._unavailable()
        seconds = min(self._timeout_seconds, seconds_left(terms))
        if not seconds:
            raise self._late()
        shortened = seconds < self._timeout_seconds
        try:
            async with asyncio.timeout(seconds if shortened else seconds + _GRACE_SECONDS):
                if self._grouped and self._groups.takes(inputs, rows):
                    deadline = time.perf_counter() + seconds
                    return await self._groups.submit(inputs, rows, terms.caller, deadline)
                [reply] = await self._ask([(inputs, rows, terms.caller, seconds)])
        except BackPressureError as error:
            raise QueueFullError(f"variant {self._variant!r} is full: try again") from error
        except _UNREACHABLE as error:
            patient = not (shortened and isinstance(error, TimeoutError))
            self._doubt(away=patient)
            if not patient:
                raise self._late() from error
            _log.warning("variant %s is unavailable: %s", self._variant, error)
            raise self._unavailable() from error
        return _computed(reply)

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
        """What waits or is under way ends by itself; the replicas are Ray Serve's."""
        if self._probe is not None:
            self._probe.cancel()

    async def _send(self, group: Sequence[Waiting]) -> list[Outcome]:
        now = time.perf_counter()
        replies = await self._ask(
            [(each.inputs, each.rows, each.caller, max(0.0, each.deadline - now)) for each in group]
        )
        return [
            _outcome(reply, now - each.since) for each, reply in zip(group, replies, strict=True)
        ]

    async def _ask(self, requests: list[Request]) -> list[Reply]:
        answer: Replies = await self._infer.remote(requests)
        *sizes, replies = answer
        self._groups.sizes = Sizes(*sizes)
        return replies

    def _doubt(self, *, away: bool) -> None:
        self._away = self._away or away
        if self._probe is None:
            self._probe = asyncio.get_running_loop().create_task(self._wait_for_return())

    async def _wait_for_return(self) -> None:
        while not await self.ready():
            self._away = True
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)
        if self._away:
            _log.info("variant %s answers again", self._variant)
        self._away, self._probe = False, None

    def _late(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"variant {self._variant!r} has no answer within the time allowed: allow more (at most "
            f"{self._timeout_seconds:g} s) or try again later"
        )

    def _unavailable(self) -> BackendUnavailableError:
        return BackendUnavailableError(f"variant {self._variant!r} is unavailable: try again")


def _outcome(reply: Reply, waited_seconds: float) -> Outcome:
    """What a reply says about a request that had waited here."""
    try:
        computed = _computed(reply)
    except ServingError as error:
        return error
    return computed._replace(queue_seconds=waited_seconds + computed.queue_seconds)


def _computed(reply: Reply) -> Computed:
    tag, value = reply
    if tag == "computed":
        return Computed(*value)
    if tag == "full":
        raise QueueFullError(*value)
    if tag == "late":
        raise DeadlineExceededError(value)
    raise VariantFailedError(value)
