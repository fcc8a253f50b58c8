"""Gateways that go in order: at the data port nobody loses a request, whoever goes."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from serve_app.launcher.ports import free_port
from tests.integration.server import INFER, REPOSITORY, clean_environment, eventually, stop
from tests.support.store import build_store, request_body

CLIENTS = 16
"""So many that each gateway has some."""
PAUSE_SECONDS = 0.03
"""Between a client's requests, or it would be the machine that is tested."""
BODY = json.dumps(request_body())


@dataclass
class Seen:
    """What clients saw that keep their connection until they are told that it closes."""

    statuses: Counter[int] = field(default_factory=Counter)
    closing: int = 0
    """Answers that said they were the connection's last."""
    lost: list[str] = field(default_factory=list)
    """Requests without an answer, on connections that had had one and were not said to close."""
    turned_away: list[str] = field(default_factory=list)
    """Connections that were gone before anything was answered."""
    refused: int = 0
    """Attempts to connect where nobody listened."""


@contextmanager
def clients(port: int) -> Iterator[Seen]:
    """Some, until the end."""
    seen, over, lock = Seen(), threading.Event(), threading.Lock()

    def one_connection() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        answered = 0
        try:
            connection.connect()
            while not over.is_set():
                connection.request("POST", INFER, BODY)
                answer = connection.getresponse()
                answer.read()
                answered += 1
                with lock:
                    seen.statuses[answer.status] += 1
                    seen.closing += answer.will_close
                if answer.will_close:
                    return
                over.wait(PAUSE_SECONDS)
        except ConnectionRefusedError:
            with lock:
                seen.refused += 1
            over.wait(PAUSE_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            with lock:
                (seen.lost if answered else seen.turned_away).append(repr(error))
        finally:
            connection.close()

    def client() -> None:
        while not over.is_set():
            one_connection()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def scaled(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """The process of `tests.integration.scaled`, its data port and its log."""
    store, data_port, log = build_store(folder / "store"), free_port(), folder / "scaled.log"
    arguments = (store, str(folder / "state"), str(free_port()), str(data_port))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.scaled", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, cwd=REPOSITORY,
            env=clean_environment(),
        )  # fmt: skip
    try:
        told(process, log)
        yield process, data_port, log
    finally:
        stop(process, log)


def told(process: subprocess.Popen[bytes], log: Path, order: str | None = None) -> None:
    """Give an order, and wait until it is done."""
    assert process.stdin is not None
    assert process.stdout is not None
    if order is not None:
        process.stdin.write(f"{order}\n".encode())
        process.stdin.flush()
    assert process.stdout.readline() == b"done\n", log.read_text()


def told_to_go(seen: Seen, before: int) -> bool:
    """Whether clients learned since then that their connection closes."""
    return seen.closing > before


@pytest.mark.timeout(240)
def test_no_request_is_lost_while_gateways_come_and_go(tmp_path: Path) -> None:
    with scaled(tmp_path) as (process, data_port, log):
        with clients(data_port) as seen:
            for order in ("1", "2", "anew"):
                before = seen.closing
                told(process, log, order)
                if order != "2":
                    eventually(partial(told_to_go, seen, before), 30)
        assert seen.statuses.keys() == {200}
        # There was always one that listened.
        assert (seen.lost, seen.turned_away, seen.refused) == ([], [], 0)
        with clients(data_port) as seen:
            eventually(lambda: seen.statuses[200] > 2 * CLIENTS)
            stop(process, log)
            eventually(lambda: seen.refused > 0)
    assert seen.statuses.keys() == {200}
    assert seen.lost == []
    assert seen.closing >= CLIENTS
