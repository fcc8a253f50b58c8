"""A request to infer, whatever protocol it came by: read, assigned, computed, answered, counted."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, TypeVar

from serve_app.errors import DeadlineExceededError, QueueFullError, RequestError, ServingError
from serve_app.gateway.http import DisconnectedError
from serve_app.gateway.predict import Answer, Predictor
from serve_app.gateway.shadow import Shadows
from serve_app.metrics import NO_VARIANT, GatewayMetrics
from serve_app.protocol.codec import Decoded
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import RoutingTable
from serve_app.terms import Terms

FAILURES = ("error", "shed", "deadline", "cancelled")
"""Outcomes of a request that its variant did not answer."""

Parameters = dict[str, str | int]
_Encoded = TypeVar("_Encoded")

OUTCOMES = {QueueFullError.reason: "shed", DeadlineExceededError.reason: "deadline"}
"""Of requests that could not be served, by reason; of the others it is "error"."""


class Exchange(Protocol[_Encoded]):
    """One request and its answer, in the form of a protocol."""

    pin: str | None
    """The variant that the request names; may become known only by `read`."""
    terms: Terms
    """For whom and until when; known after `read`."""
    started: float
    """When the request was there, a reading of `time.perf_counter()`; it may have waited since."""

    async def read(self) -> Decoded:
        """The request, checked.

        Raises:
            RequestError: it cannot be answered as it is.
        """
        ...

    def encode(self, decoded: Decoded, answer: Answer, parameters: Parameters) -> _Encoded:
        """The answer, with what the protocol's parameters say about it."""
        ...

    async def send(self, encoded: _Encoded, answer: Answer, table: RoutingTable) -> None:
        """Give it to the client."""
        ...


class Inference:
    """Answers requests, and counts each once, by the variant that had to do with it."""

    def __init__(self, predictor: Predictor, shadows: Shadows, metrics: GatewayMetrics) -> None:
        self._predictor = predictor
        self._shadows = shadows
        self._metrics = metrics

    async def answer(self, exchange: Exchange[_Encoded]) -> None:
        """Answer a request.

        Raises:
            SlimserveError: it is not answered; it is counted, but for `rejections` of a
                RequestError, which not only requests to infer raise.
        """
        began, metrics = time.perf_counter(), self._metrics
        metrics.in_flight.inc()
        who, outcome = exchange.pin or NO_VARIANT, "error"
        try:
            decoded = await exchange.read()
            assignment = self._predictor.assignment
            assigned = self._predictor.choose(assignment, decoded.key, exchange.pin)
            who = assigned.variant
            decoded_at = time.perf_counter()
            answer = await self._predictor.predict(decoded, assigned, exchange.terms)
            who, outcome = answer.variant, "ok" if answer.failed is None else "fallback"
            encoded = self._encode(exchange, decoded, assignment.table, answer, began, decoded_at)
            await exchange.send(encoded, answer, assignment.table)
            self._shadow(decoded, assignment, answer)
        except ServingError as error:
            outcome = OUTCOMES.get(error.reason, "error")
            metrics.rejections[error.reason].inc()
            raise
        except RequestError:
            outcome = "invalid"
            raise
        except (asyncio.CancelledError, DisconnectedError):
            outcome = "cancelled"
            raise
        finally:
            metrics.in_flight.dec()
            counted = metrics.variant[who]
            counted.outcomes[outcome].inc()
            seconds = time.perf_counter() - exchange.started
            counted.request_seconds.observe(seconds)
            if outcome in FAILURES and who != NO_VARIANT:
                metrics.statistics[who].fail(seconds)

    def _encode(
        self,
        exchange: Exchange[_Encoded],
        decoded: Decoded,
        table: RoutingTable,
        answer: Answer,
        began: float,
        decoded_at: float,
    ) -> _Encoded:
        encoding = time.perf_counter()
        parameters: Parameters = {
            "variant": answer.variant,
            "experiment": table.experiment,
            "table_version": table.version,
            "why": answer.why,
        }
        if answer.failed is not None:
            parameters["failed_variant"] = answer.failed
        encoded = exchange.encode(decoded, answer, parameters)
        # Counted before it is sent: who has the answer and then reads /metrics finds it there.
        self._count(decoded, answer, (exchange.started, began, decoded_at, encoding))
        return encoded

    def _count(
        self, decoded: Decoded, answer: Answer, clock: tuple[float, float, float, float]
    ) -> None:
        """Count an answer; `clock` was read when it was there, taken up, decoded and computed."""
        counted, now = self._metrics.variant[answer.variant], time.perf_counter()
        received, began, decoded_at, encoding = clock
        decode_seconds, encode_seconds = decoded_at - began, now - encoding
        queue_seconds = answer.computed.queue_seconds + began - received
        infer_seconds = answer.computed.infer_seconds
        counted.phases["decode"].observe(decode_seconds)
        counted.phases["queue"].observe(queue_seconds)
        counted.phases["infer"].observe(infer_seconds)
        counted.phases["encode"].observe(encode_seconds)
        counted.whys[answer.why].inc()
        counted.rows.inc(decoded.rows)
        statistics, seconds = self._metrics.statistics, now - received
        statistics[answer.variant].answer(
            seconds, decode_seconds, queue_seconds, infer_seconds, encode_seconds
        )
        if answer.failed is not None:
            # Until the champion was asked.
            statistics[answer.failed].fail(seconds - queue_seconds - infer_seconds)

    def _shadow(self, decoded: Decoded, assignment: Assignment, answer: Answer) -> None:
        variant = assignment.shadow_variant
        if variant is not None and assignment.shadowed(decoded.key):
            outputs = answer.computed.outputs
            self._shadows.offer(variant, decoded.inputs, decoded.rows, answer.variant, outputs)
