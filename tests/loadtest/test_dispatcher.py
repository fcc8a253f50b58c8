"""The open loop beyond what its pool of connections holds."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from gevent import get_hub

from loadtest.connection import Target
from loadtest.dispatcher import Dispatcher
from loadtest.timer import Timer


class Counted:
    """An observer."""

    def __init__(self) -> None:
        self.lost = self.open = 0

    def answered(
        self, intended: float, started: float, ended: float, status: int, body: bytes
    ) -> None:
        """See `Observer.answered`."""

    def unfinished(self, intended: float, started: float, ended: float) -> None:
        """See `Observer.unfinished`."""
        self.open += 1

    def dropped(self, count: int) -> None:
        """See `Observer.dropped`."""
        self.lost += count


class Looking(Dispatcher):
    """Counts how often it looks whether something is to be done."""

    looks = 0

    def _wait(self, timer: Timer, intended: float) -> None:
        self.looks += 1
        super()._wait(timer, intended)


class Restless:
    """Something that wakes the event loop as often as it waits."""

    def __init__(self) -> None:
        self.woken = 0
        self._near, self._far = socket.socketpair()
        self._watcher = get_hub().loop.io(self._near.fileno(), 1)

    def start(self) -> None:
        self._far.send(b"never read")
        self._watcher.start(self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        self._near.close()
        self._far.close()


def test_what_finds_the_pool_full_is_counted_and_costs_next_to_nothing() -> None:
    requests, seconds = 2_000, 0.1
    seen, restless = Counted(), Restless()

    def due() -> Iterator[float]:
        for number in range(requests):
            if number == 2:  # the first one fills the pool
                restless.start()
            yield number * seconds / requests

    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Target("127.0.0.1", silent.getsockname()[1], tls=False)
        dispatcher = Looking(target, [b"POST / HTTP/1.1\r\n\r\n"], seen, max_in_flight=1)
        dispatcher.warm(1)
        pace = dispatcher.walk(due(), lambda: False)
        restless.close()
        dispatcher.drain(0.0)
        dispatcher.close()
    assert pace.taken == requests
    assert (seen.open, seen.lost) == (1, requests - 1)
    # Once in half a millisecond, and not for each.
    assert dispatcher.looks < requests / 5
    # Nor does each answer that comes meanwhile wake the generator.
    assert restless.woken < requests / 2
