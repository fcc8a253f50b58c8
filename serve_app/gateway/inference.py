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
        started = time.perf_counter()
        metrics = self._metrics
        metrics.in_flight.inc()
        who, outcome = exchange.pin or NO_VARIANT, "error"
        try:
            decoded = await exchange.read()
            assignment = self._predictor.assignment
            assigned = self._predictor.choose(assignment, decoded.key, exchange.pin)
            who = assigned.variant
            decode_seconds = time.perf_counter() - started
            answer = await self._predictor.predict(decoded, assigned, exchange.terms)
            who, outcome = answer.variant, "ok" if answer.failed is None else "fallback"
            encoded = self._encode(exchange, decoded, assignment.table, answer, decode_seconds)
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
            counted.request_seconds.observe(time.perf_counter() - started)

    def _encode(
        self,
        exchange: Exchange[_Encoded],
        decoded: Decoded,
        table: RoutingTable,
        answer: Answer,
        decode_seconds: float,
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
        counted = self._metrics.variant[answer.variant]
        counted.phases["decode"].observe(decode_seconds)
        counted.phases["queue"].observe(answer.computed.queue_seconds)
        counted.phases["infer"].observe(answer.computed.infer_seconds)
        counted.phases["encode"].observe(time.perf_counter() - encoding)
        counted.whys[answer.why].inc()
        counted.rows.inc(decoded.rows)
        return encoded

    def _shadow(self, decoded: Decoded, assignment: Assignment, answer: Answer) -> None:
        variant = assignment.shadow_variant
        if variant is not None and assignment.shadowed(decoded.key):
            outputs = answer.computed.outputs
            self._shadows.offer(variant, decoded.inputs, decoded.rows, answer.variant, outputs)
