"""What computes beside the event loop: threads, and ONNX Runtime's own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
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


def make_worker() -> Worker:
    return Worker(make_onnx(), list(ROWS), ["score"], 1)


def test_a_worker_s_batches_take_turns_and_none_counts_its_time_in_the_line() -> None:
    outcomes = gathered(make_worker(), 4, lambda: time.sleep(0.02))
    assert [len((one.outputs or {})["score"]) for one in outcomes] == [1, 2, 3, 4]
    ends = [one.started + one.seconds for one in outcomes]
    assert [one.started for one in outcomes[1:]] == pytest.approx(ends[:-1], abs=1e-9)


def wait_until_freed(reference: weakref.ref[Any]) -> None:
    deadline = time.monotonic() + 5
    while reference() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("closes", [True, False])
def test_a_worker_that_is_given_up_gives_back_what_it_computes_and_is_freed(
    *, closes: bool
) -> None:
    worker = make_worker()
    session = weakref.ref(worker._session)
    outcomes, gate, over = list[Outcome](), threading.Event(), threading.Event()

    def done(outcome: Outcome) -> None:
        gate.wait(5)
        outcomes.append(outcome)
        over.set()

    worker.begin(ROWS, done)
    if closes:
        worker.close()
    del worker
    time.sleep(0.05)
    assert session() is not None
    gate.set()
    assert over.wait(5)
    assert len((outcomes[0].outputs or {})["score"]) == 8
    wait_until_freed(session)


def test_what_cannot_be_begun_is_not_waited_for() -> None:
    worker = make_worker()
    session = weakref.ref(worker._session)
    with pytest.raises(KeyError):
        worker.begin({}, lambda _: pytest.fail("it was computed"))
    wrong: dict[str, Any] = dict.fromkeys(ROWS, "no array")
    with pytest.raises(RuntimeError, match="Input must be"):
        worker.begin(wrong, lambda _: pytest.fail("it was computed"))
    worker.close()
    wait_until_freed(session)


def test_a_process_that_ends_with_a_worker_ends() -> None:
    """Python frees what modules hold when no thread can begin any more."""
    program = (
        "from tests.serve_app.runners.test_aside import ROWS, make_worker, wait_for\n"
        "worker = make_worker()\n"
        "print(len(wait_for(worker, ROWS)['score']))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("8\n", "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_is_told_and_fails_does_not_stop_a_worker() -> None:
    worker = make_worker()

    def broken(outcome: Outcome) -> None:
        raise ValueError("nobody listens")

    worker.begin(ROWS, broken)
    assert len(wait_for(worker, ROWS)["score"]) == 8


def test_what_is_computed_here_is_timed() -> None:
    def run(_: Any) -> Arrays:
        time.sleep(0.01)
        return {}

    before = time.perf_counter()
    outcome = compute(run, ROWS)
    assert outcome.started >= before
    assert 0.01 <= outcome.seconds <= time.perf_counter() - before
