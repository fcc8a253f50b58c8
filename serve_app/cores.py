"""CPU cores that a process keeps to, with all its threads. For Linux.

A gateway has one thread that must not wait. Where few cores are busy, the system puts other
processes beside it off and on although another core is free, the clients of the same machine above
all: then it waits at each answer it sends, for tens of milliseconds. `gateway.cores` keeps others
away. What that saves and costs is in the README.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from serve_app.errors import ConfigError


def keep_to(cores: Collection[int]) -> None:
    """Hold this process to some cores, and what it starts from now on.

    Raises:
        ConfigError: this machine does not have one of them, or gives it to others.
    """
    _hold(set(cores))
    if (given := _usable()) != set(cores):
        missing = sorted(set(cores) - given)
        raise ConfigError(f"configuration: gateway.cores: cores {missing} are not there")


def keep_off(cores: Collection[int]) -> None:
    """Hold this process to all cores but some, and what it starts from now on.

    Raises:
        ConfigError: this process may not use one of them, or would have none left.
    """
    usable = _usable()
    if missing := sorted(set(cores) - usable):
        raise ConfigError(
            f"configuration: gateway.cores: expected some of {sorted(usable)}, given {missing}"
        )
    if usable == set(cores):
        raise ConfigError(
            f"configuration: gateway.cores: expected not all of {sorted(usable)}: Ray's processes "
            "need one"
        )
    _hold(usable - set(cores))


def _usable() -> set[int]:
    if not hasattr(os, "sched_getaffinity"):
        raise ConfigError("configuration: gateway.cores: cores can be chosen on Linux alone")
    return os.sched_getaffinity(0)


def _hold(cores: set[int]) -> None:
    """All threads: a thread that is there keeps to what it began with."""
    try:
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), cores)
            except ProcessLookupError:  # it has ended
                continue
    except OSError as error:
        raise ConfigError(
            f"configuration: gateway.cores: {sorted(cores)} cannot be had: {error}"
        ) from error
