"""A few real clients that never pause, and what they got."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.integration.server import INFER, Server, eventually
from tests.support.store import request_body


@dataclass
class Load:
    """Counts by (status, variant); status 0 is a connection that broke."""

    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """Counts by status."""
        totals: Counter[int] = Counter()
        for (status, _), number in self.counts.items():
            totals[status] += number
        return totals

    def of(self, variant: str) -> int:
        """How many answers a variant gave."""
        return sum(number for (_, name), number in self.counts.items() if name == variant)


@contextmanager
def constant_load(server: Server, clients: int = 4) -> Iterator[Load]:
    """Each client sends one request after another on one connection, each of another customer."""
    load, stop, lock = Load(), threading.Event(), threading.Lock()
    keys = count()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        while not stop.is_set():
            status, text = _ask(connection, request_body(customer_id=f"c{next(keys)}"))
            variant = json.loads(text)["model_version"] if status == 200 else ""
            with lock:
                load.counts[status, variant] += 1
                if status != 200:
                    load.failures.append(text)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def kept_busy(server: Server, asks: Sequence[Callable[[], int]]) -> Iterator[list[int]]:
    """Each of `asks` again and again, at the same time, until the block ends.

    Yields once all are seen under way: however long a scrape takes, they are. What they returned
    is complete after the block.
    """
    over, returned = threading.Event(), list[int]()

    def keep_asking(ask: Callable[[], int]) -> None:
        while not over.is_set():
            returned.append(ask())

    eventually(lambda: server.total("in_flight") == 0)
    with ThreadPoolExecutor(len(asks)) as pool:
        asking = [pool.submit(keep_asking, ask) for ask in asks]
        try:
            eventually(lambda: server.total("in_flight") >= len(asks))
            yield returned
        finally:
            over.set()
    for one in asking:
        one.result()


def _ask(connection: http.client.HTTPConnection, body: Any) -> tuple[int, str]:
    try:
        connection.request("POST", INFER, json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return 0, repr(error)
