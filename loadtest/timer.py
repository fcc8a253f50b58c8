"""Waiting until an exact moment inside a gevent loop.

gevent's own timers are rounded up to the next millisecond by libev's epoll backend, which is more
than a small model takes to answer. On Linux the kernel's timerfd wakes the loop through a file
descriptor instead, some tens of microseconds after the moment asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from typing import Any, Protocol

import gevent
from gevent import get_hub
from gevent.hub import Waiter

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK = 0o4000
_LEAST_SECONDS = 1e-6
_SLACK_OPTION = 29  # PR_SET_TIMERSLACK


class Timer(Protocol):
    """Sleeps until a moment of `time.monotonic`."""

    def wait_until(self, moment_seconds: float) -> None:
        """Wait, and let the loop go round to read, even if the moment has passed."""
        ...

    def close(self) -> None: ...


class SleepTimer:
    """gevent.sleep: right to about a millisecond, works everywhere."""

    def wait_until(self, moment_seconds: float) -> None:
        # To sleep for 0 s mostly comes back before anything is read.
        gevent.sleep(max(_LEAST_SECONDS, moment_seconds - time.monotonic()))

    def close(self) -> None:
        """Nothing is held."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class TimerFd:
    """Linux timerfd on CLOCK_MONOTONIC, the clock of `time.monotonic`."""

    def __init__(self) -> None:
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._libc.prctl(_SLACK_OPTION, 1, 0, 0, 0)
        self._hub: Any = get_hub()
        self._waiter: Any = None
        self._watcher: Any = self._hub.loop.io(self._fd, 1)
        # Once for all: to start and to stop it are system calls.
        self._watcher.start(self._fire)
        self._spec = _TimerSpec()

    def wait_until(self, moment_seconds: float) -> None:
        nanoseconds = int(moment_seconds * 1e9)
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(nanoseconds, 1_000_000_000)
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(self._spec), None)
        self._waiter = Waiter(self._hub)
        self._waiter.get()

    def _fire(self) -> None:
        with contextlib.suppress(BlockingIOError):  # set anew meanwhile
            os.read(self._fd, 8)
            waiter, self._waiter = self._waiter, None
            if waiter is not None:
                waiter.switch(None)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


def make_timer() -> Timer:
    """The most exact timer this platform has."""
    if sys.platform == "linux":
        try:
            return TimerFd()
        except OSError:
            return SleepTimer()
    return SleepTimer()
