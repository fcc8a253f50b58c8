"""CPU cores that processes are held to, in lists as `taskset -c` takes them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence

from loadtest.errors import OptionError

_PART = re.compile(r"(?P<first>\d{1,6})(-(?P<last>\d{1,6})(:(?P<step>\d{1,6}))?)?", re.ASCII)


def parse_cores(option: str, text: str) -> tuple[int, ...]:
    """The cores of a list such as `0,1`, `2-15` or `0-14:2` (every other one), rising.

    Raises:
        OptionError: it is empty or no such list, this process may not use one of them, or
            taskset is not there.
    """
    if shutil.which("taskset") is None:
        raise OptionError(f"{option} {text!r}: needs taskset, of util-linux, which is for Linux")
    # Not the machine's: of cores outside a container's share the kernel drops some in silence.
    usable = os.sched_getaffinity(0)
    cores: set[int] = set()
    for part in text.split(","):
        for core in _range(option, text, part.strip()):
            if core not in usable:
                raise OptionError(
                    f"{option} {text!r}: core {core} is not there, not online or not for this "
                    f"process, expected some of {format_cores(usable)}"
                )
            cores.add(core)
    return tuple(sorted(cores))


def _range(option: str, text: str, part: str) -> range:
    found = _PART.fullmatch(part)
    if found is not None:
        first, last, step = found["first"], found["last"], found["step"]
        if int(step or 1) and int(first) <= int(last or first):
            return range(int(first), int(last or first) + 1, int(step or 1))
    raise OptionError(
        f"{option} {text!r}: expected a list of cores such as 0,1 or 2-15, and {part!r} is no "
        "core and no range of them"
    )


def format_cores(cores: Iterable[int]) -> str:
    """The shortest such list: `0-1,5`."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def taskset(cores: Sequence[int]) -> tuple[str, ...]:
    """What goes before a command that is to stay on these cores, with all it starts.

    Nothing where there are none: it runs on any core.
    """
    return ("taskset", "-c", format_cores(cores)) if cores else ()
