"""A variant whose replicas follow the load."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

import pytest

from tests.integration.server import ELASTIC, Server, eventually
from tests.support.store import SAMPLE_ROWS, make_samples, request_body, scores

VARIANT = "elastic"
CLIENTS = 2 * int(ELASTIC["target_ongoing_requests"])
"""As much as both replicas should have, each with one request at a time."""
FEW = 2
"""Less than one replica should have."""
SCALE_SECONDS = 90.0
ENOUGH = 20
"""Batches that show that a replica takes part."""


@contextmanager
def load(server: Server, clients: int) -> Iterator[Counter[str]]:
    """Clients that pin the variant; counts what they got: `right`, or what was wrong."""
    answers, over, lock = Counter[str](), threading.Event(), threading.Lock()
    expected = scores(make_samples().rows(0, SAMPLE_ROWS))

    def client(first: int) -> None:
        for row in cycle([*range(first, SAMPLE_ROWS), *range(first)]):
            if over.is_set():
                return
            answer = server.infer(request_body(start=row), VARIANT)
            said = f"{answer.status} {answer.body!r}"
            if answer.status == 200 and answer.variant == VARIANT:
                [score] = answer.json()["outputs"][0]["data"]
                said = "right" if abs(score - expected[row]) < 1e-6 else f"row {row}: {score}"
            with lock:
                answers[said] += 1

    threads = [threading.Thread(target=client, args=(7 * number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def batches(server: Server) -> dict[str, float]:
    """By replica."""
    samples = server.samples("batch_rows_count", variant=VARIANT)
    return {labels["replica"]: value for labels, value in samples}


def share(server: Server) -> bool:
    """Whether two replicas compute."""
    found = batches(server)
    return len(found) == 2 and min(found.values()) >= ENOUGH


def alone(server: Server) -> bool:
    """Whether one replica is left."""
    return len(server.replicas(VARIANT)) == 1


@pytest.mark.timeout(300)
def test_replicas_come_and_go_with_the_load_and_no_request_fails(server: Server) -> None:
    assert alone(server)
    with load(server, CLIENTS) as answers:
        eventually(lambda: share(server), SCALE_SECONDS)
    assert set(answers) == {"right"}, answers
    with load(server, FEW) as answers:
        eventually(lambda: alone(server), SCALE_SECONDS)
    assert set(answers) == {"right"}, answers
