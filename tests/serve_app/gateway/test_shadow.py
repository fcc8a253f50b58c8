from __future__ import annotations

import asyncio

import pytest

from serve_app.config import ShadowConfig
from serve_app.errors import BackendUnavailableError, QueueFullError
from tests.serve_app.gateway.fakes import Gateway
from tests.support.asgi import call
from tests.support.store import CHAMPION, request_body

INFER = "/v2/models/fraud/infer"


def shadowing(rate: float = 1.0, config: ShadowConfig | None = None) -> Gateway:
    gateway = Gateway(shadow=config)
    gateway.route({CHAMPION: 1.0}, shadow={"variant": "close", "sample_rate": rate})
    return gateway


async def test_differences_and_flips_are_counted() -> None:
    gateway = shadowing()
    gateway.shadows.start()
    answer = await call(gateway.app, "POST", INFER, request_body(3))
    await gateway.shadows.drained()
    assert answer.json()["model_version"] == CHAMPION
    assert gateway.value("shadow_rows_total", variant="close") == 3
    assert gateway.value("shadow_flips_total", variant="close") == 3
    assert gateway.value("shadow_score_difference_count", variant="close") == 3
    assert gateway.value("shadow_score_difference_sum", variant="close") == pytest.approx(0.6)
    assert gateway.value("requests_total", variant="close", outcome="ok") == 0
    await gateway.shadows.close()


async def test_the_answer_does_not_wait_for_the_shadow() -> None:
    gateway = shadowing()
    gateway.shadows.start()
    gateway.backends["close"].gate = asyncio.Event()
    answer = await call(gateway.app, "POST", INFER, request_body())
    assert answer.status == 200
    assert gateway.value("shadow_rows_total", variant="close") == 0
    gateway.backends["close"].gate.set()
    await gateway.shadows.drained()
    assert gateway.value("shadow_rows_total", variant="close") == 1
    await gateway.shadows.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (QueueFullError("full"), "shed"),
        (BackendUnavailableError("off"), "unavailable"),
        (RuntimeError("broken"), "failed"),
    ],
)
async def test_a_failing_shadow_is_counted_and_nothing_else(error: Exception, reason: str) -> None:
    gateway = shadowing()
    gateway.shadows.start()
    gateway.backends["close"].error = error
    for _ in range(2):
        assert (await call(gateway.app, "POST", INFER, request_body())).status == 200
    await gateway.shadows.drained()
    assert gateway.value("shadow_dropped_total", variant="close", reason=reason) == 2
    await gateway.shadows.close()


async def test_a_full_queue_drops_and_counts_rows() -> None:
    gateway = shadowing(config=ShadowConfig(max_queued_rows=4))
    for _ in range(3):
        await call(gateway.app, "POST", INFER, request_body(2))
    assert gateway.value("shadow_dropped_total", variant="close", reason="queue_full") == 1
    gateway.shadows.start()
    await gateway.shadows.drained()
    assert gateway.value("shadow_rows_total", variant="close") == 4
    await gateway.shadows.close()


async def test_a_pin_to_the_shadow_is_not_shadowed() -> None:
    gateway = shadowing()
    gateway.shadows.start()
    await call(gateway.app, "POST", "/v2/models/fraud/versions/close/infer", request_body())
    await gateway.shadows.drained()
    assert gateway.backends["close"].calls == 1
    await gateway.shadows.close()


async def test_the_sample_is_sticky() -> None:
    gateway = shadowing(rate=0.5)
    gateway.shadows.start()
    seen: dict[str, set[int]] = {}
    for _ in range(2):
        for key in (f"c{number}" for number in range(20)):
            before = gateway.backends["close"].calls
            await call(gateway.app, "POST", INFER, request_body(customer_id=key))
            await gateway.shadows.drained()
            seen.setdefault(key, set()).add(gateway.backends["close"].calls - before)
    assert all(len(calls) == 1 for calls in seen.values())
    assert {next(iter(calls)) for calls in seen.values()} == {0, 1}
    await gateway.shadows.close()
