from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from compression.tracing import TRACING, TracingGate
from tests.compression.training.toy import toy_trainer


def test_no_training_step_runs_during_an_export() -> None:
    reports: list[int] = []
    trainer = toy_trainer(report=lambda done, steps, loss: reports.append(done))
    with ThreadPoolExecutor(1) as pool:
        with TRACING.alone():
            training = pool.submit(trainer.fit)
            assert not _ends(training.result, within_seconds=0.3)
            assert reports == []
        training.result(timeout=60)
    assert reports


def test_an_export_waits_for_steps_under_way_and_goes_before_new_ones() -> None:
    gate, order = TracingGate(), list[str]()
    waiting = Event()

    def export() -> None:
        waiting.set()
        with gate.alone():
            order.append("export")

    def step() -> None:
        with gate.step():
            order.append("step")

    with ThreadPoolExecutor(2) as pool:
        with gate.step():
            exported = pool.submit(export)
            waiting.wait(timeout=10)
            assert not _ends(exported.result, within_seconds=0.2)
            stepped = pool.submit(step)
            assert not _ends(stepped.result, within_seconds=0.2)
            order.append("first step ends")
        exported.result(timeout=10)
        stepped.result(timeout=10)
    assert order == ["first step ends", "export", "step"]


def test_steps_share_the_gate() -> None:
    gate = TracingGate()
    with gate.step(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(_enter, gate).result(timeout=10)


def test_a_failed_export_lets_steps_go_on() -> None:
    gate = TracingGate()
    try:
        with gate.alone():
            raise ValueError
    except ValueError:
        pass
    assert _enter(gate)


def _enter(gate: TracingGate) -> bool:
    with gate.step():
        return True


def _ends(result: object, within_seconds: float) -> bool:
    try:
        result(timeout=within_seconds)  # type: ignore[operator]
    except TimeoutError:
        return False
    return True
