"""Is the port free, and if not, who has it?"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from pathlib import Path

from serve_app.errors import ConfigError, PortTakenError

_LISTEN = "0A"
_LAST = 65535
_FIRST_FREE = 20_000
"""Ray's workers have those below, from 10,002 on."""
_HANDED_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUALLY_HANDED_OUT = 32_768
_TRIES = 100
_RAY = "ray::"
"""How the names of Ray's workers begin: gateways, and the one that starts HAProxy."""


def check_port(port: int, option: str = "--port") -> None:
    """Let a port pass that can be listened on; `option` is how another one is chosen.

    Raises:
        ConfigError: there is no such port.
        PortTakenError: naming the process that holds it, where this user may know, and the remedy.
    """
    if not 1 <= port <= _LAST:
        raise ConfigError(f"{option}: expected a port from 1 to {_LAST}, given {port}")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            return
        except PermissionError as error:
            raise PortTakenError(f"port {port} needs privileges: choose one above 1023") from error
        except OSError:
            pass
    raise PortTakenError(_explain(port, holders(port), option))


def free_port() -> int:
    """A port nobody listens on now, and that nobody is given who asks the system for any.

    Ray's processes ask for dozens while they start: of those that the system hands out, one was
    taken before HAProxy came to it, in one of some fifty starts.
    """
    choices = range(_FIRST_FREE, _first_handed_out())
    for port in random.SystemRandom().sample(choices, min(_TRIES, len(choices))):
        with contextlib.suppress(OSError):
            return _bound(port)
    return _bound(0)


def _bound(port: int) -> int:
    """The port, or any for 0, if it can be listened on. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("0.0.0.0", port))
        return int(probe.getsockname()[1])


def _first_handed_out() -> int:
    """The lowest port that the system gives to whoever asks for any."""
    try:
        return int(_HANDED_OUT.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUALLY_HANDED_OUT


def holders(port: int) -> list[tuple[int, str]]:
    """(pid, command) of the processes that listen on `port`; Linux only, else empty."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    processes = Path("/proc").glob("[0-9]*") if inodes else ()
    return sorted(
        (int(process.name), _command(process))
        for process in processes
        if any(_link(entry) in inodes for entry in _entries(process / "fd"))
    )


def _explain(port: int, found: list[tuple[int, str]], option: str) -> str:
    if not found:
        return f"port {port} is taken by another process: stop it, or choose another with {option}"
    names = ", ".join(f"{command} (pid {pid})" for pid, command in found)
    if any(_is_in_use(pid, command) for pid, command in found):
        return (
            f"port {port} is held by {names} of an application that is running: stop that one "
            f"where it was started, or choose another port with {option}"
        )
    if all(command == "haproxy" for _, command in found):
        pids = " ".join(str(pid) for pid, _ in found)
        return (
            f"port {port} is held by {names}, left over from a run that was killed: "
            f"stop it with 'kill {pids}', or choose another port with {option}"
        )
    return f"port {port} is held by {names}: stop it, or choose another with {option}"


def _is_in_use(pid: int, command: str) -> bool:
    """Whether it is a gateway, or an HAProxy whose Ray is there."""
    return (_parent_command(pid) if command == "haproxy" else command).startswith(_RAY)


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(fields[9])
    return inodes


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _parent_command(pid: int) -> str:
    """Command of the process that started `pid`; a stale proxy's is gone and its parent is init."""
    try:
        # "pid (command) state parent …", and a command may hold blanks and brackets.
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return _command(Path("/proc") / fields[1])
    except (OSError, IndexError):
        return ""


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
