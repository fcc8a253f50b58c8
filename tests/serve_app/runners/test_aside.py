"""What computes beside the event loop: threads, and ONNX Runtime's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from serve_app.runners import Arrays
from serve_app.runners.aside import Threads, compute, wait_for
from serve_app.runners.base import Aside, Outcome
from serve_app.runners.onnx import OnnxRunner
from serve_app.runners.onnx_aside import Worker
from serve_app.runners.providers import CPU
from tests.support.store import make_onnx, make_samples, scores

ROWS = make_samples().rows(0, 8)


@pytest.fixture(params=["threads", "worker"])
def aside(request: pytest.FixtureRequest) -> Iterator[Aside]:
    artifact = make_onnx()
    runner = OnnxRunner(artifact, ["score"], 1, providers=[CPU])
    made = Threads(runner.run, "m", 2) if request.param == "threads" else runner.aside(artifact)
    assert made is not None
    yield made
    made.close()


def test_it_computes_what_the_model_does(aside: Aside) -> None:
    np.testing.assert_allclose(wait_for(aside, ROWS)["score"], scores(ROWS), atol=1e-6)


def test_an_error_comes_back_and_the_next_batch_is_computed(aside: Aside) -> None:
    with pytest.raises(Exception, match="transaction"):
        wait_for(aside, {**ROWS, "transaction": ROWS["transaction"][:, :3]})
    assert len(wait_for(aside, ROWS)["score"]) == 8


def gathered(aside: Aside, batches: int, held: Callable[[], Any] = lambda: None) -> list[Outcome]:
    """Outcomes of so many batches that were begun at once, in the order in which they came."""
    outcomes, over = list[Outcome](), threading.Semaphore(0)

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        held()
        over.release()

    for number in range(batches):
        aside.begin({name: array[: number + 1] for name, array in ROWS.items()}, done)
    for _ in range(batches):
        assert over.acquire(timeout=10)
    return outcomes


def test_several_are_under_way_at_once(aside: Aside) -> None:
    outcomes = gathered(aside, 4)
    assert sorted(len((one.outputs or {})["score"]) for one in outcomes) == [1, 2, 3, 4]
    assert all(one.error is None and one.seconds > 0 for one in outcomes)


def test_nothing_is_begun_once_it_is_closed(aside: Aside) -> None:
    aside.close()
    with pytest.raises(RuntimeError):
        aside.begin(ROWS, lambda _: pytest.fail("it was computed"))


@pytest.fixture
def worker() -> Worker:
    return Worker(make_onnx(), list(ROWS), ["score"], 1)


def test_a_worker_s_batches_take_turns_and_none_counts_its_time_in_the_line(
    worker: Worker,
) -> None:
    outcomes = gathered(worker, 4, lambda: time.sleep(0.02))
    assert [len((one.outputs or {})["score"]) for one in outcomes] == [1, 2, 3, 4]
    ends = [one.started + one.seconds for one in outcomes]
    assert [one.started for one in outcomes[1:]] == pytest.approx(ends[:-1], abs=1e-9)


def test_closing_a_worker_waits_for_what_it_computes(worker: Worker) -> None:
    given, gate = list[Outcome](), threading.Event()

    def done(outcome: Outcome) -> None:
        gate.wait(5)
        given.append(outcome)

    worker.begin(ROWS, done)
    closing = threading.Thread(target=worker.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    gate.set()
    closing.join(5)
    assert not closing.is_alive()
    assert len(given) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_is_told_and_fails_does_not_stop_a_worker(worker: Worker) -> None:
    def broken(outcome: Outcome) -> None:
        raise ValueError("nobody listens")

    worker.begin(ROWS, broken)
    assert len(wait_for(worker, ROWS)["score"]) == 8
    worker.close()


def test_what_is_computed_here_is_timed() -> None:
    def run(_: Any) -> Arrays:
        time.sleep(0.01)
        return {}

    before = time.perf_counter()
    outcome = compute(run, ROWS)
    assert outcome.started >= before
    assert 0.01 <= outcome.seconds <= time.perf_counter() - before
