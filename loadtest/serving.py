"""A server for the length of a measurement: started, waited for, stopped with all its children."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from loadtest.errors import UnreachableError

READY_SECONDS = 120.0
STOP_SECONDS = 40.0
_LINGER_SECONDS = 5.0
_POLL_SECONDS = 0.2


@contextmanager
def serving(
    command: str, ready_url: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[float]:
    """Run a server command; yields the seconds it took until `ready_url` answered 200.

    Its output goes to `log`. On the way out it gets SIGINT, as Ctrl-C would send it, and what it
    started may take a moment to follow; what is left of its processes after that is killed.

    Raises:
        UnreachableError: somebody else has the port, it ended before it was ready or was not ready
            in time, or the port is still taken when all its processes are gone.
    """
    if _listens(ready_url):
        raise UnreachableError(
            f"somebody listens at {ready_url} already, and would be measured in place of "
            f"{command!r}: stop it, or choose another port"
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        with _interruptible():
            process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        try:
            _wait_ready(process, ready_url, log, command)
            yield time.monotonic() - started
        finally:
            _stop(process)
            _wait_closed(ready_url, log)


@contextmanager
def _interruptible() -> Iterator[None]:
    """What is started inside listens to SIGINT, though a shell's background jobs do not."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path, command: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(url):
        if process.poll() is not None:
            raise UnreachableError(
                f"the server ended with exit code {process.returncode} before it was ready.\n"
                f"{_last_lines(log)}\ncommand: {command}\nlog: {log}"
            )
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{url} did not answer within {READY_SECONDS:.0f} s.\n{_last_lines(log)}\n"
                f"command: {command}\nlog: {log}"
            )
        time.sleep(_POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _listens(url: str) -> bool:
    address = urllib.parse.urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), 1.0).close()
    except OSError:
        return False
    return True


def _wait_closed(url: str, log: Path) -> None:
    """Ray's proxy lets go of the port a little after the command that started it has ended."""
    deadline = time.monotonic() + STOP_SECONDS
    while _listens(url):
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{url} is still listened at {STOP_SECONDS:.0f} s after its server was stopped: "
                f"stop what is left of it by hand; log: {log}"
            )
        time.sleep(_POLL_SECONDS)


def _last_lines(log: Path, lines: int = 8) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    family = _family(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    _, left = psutil.wait_procs(family, timeout=_LINGER_SECONDS)
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    process.wait()


def _family(pid: int) -> list[psutil.Process]:
    """A process and all below it, also those in sessions of their own, as Ray's are."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []
