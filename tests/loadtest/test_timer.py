"""Waiting inside the event loop."""

from __future__ import annotations

import socket
import time

import pytest
from gevent import get_hub

from loadtest.timer import SleepTimer, Timer, make_timer


@pytest.mark.parametrize(
    "timer", [make_timer(), SleepTimer()], ids=lambda timer: type(timer).__name__
)
def test_a_moment_that_has_passed_still_lets_the_loop_read(timer: Timer) -> None:
    near, far = socket.socketpair()
    woken: list[int] = []
    watcher = get_hub().loop.io(near.fileno(), 1)
    watcher.start(woken.append, 1)
    far.send(b"never read")
    for _ in range(5):
        timer.wait_until(time.monotonic() - 1.0)
    # What is there with the timer may be read after it, by the next turn.
    assert len(woken) >= 4
    watcher.stop()
    watcher.close()
    near.close()
    far.close()
    timer.close()
