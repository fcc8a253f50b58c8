"""A server for the length of a measurement: started, waited for, stopped with all its children."""

from __future__ import annotations

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

from loadtest.errors import UnreachableError

READY_SECONDS = 120.0
STOP_SECONDS = 40.0
_POLL_SECONDS = 0.2


@contextmanager
def serving(
    command: str, ready_url: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[float]:
    """Run a server command; yields the seconds it took until `ready_url` answered 200.

    Its output goes to `log`. On the way out it gets SIGINT, as Ctrl-C would send it, and what it
    started may take a moment to follow: the port is free when this ends, or STOP_SECONDS over.

    Raises:
        UnreachableError: it ended before it was ready, or was not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
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
            _wait_closed(ready_url)


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


def _wait_closed(url: str) -> None:
    """Ray's proxy lets go of the port a little after the command that started it has ended."""
    address = urllib.parse.urlsplit(url)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname or "", address.port or 80), 1.0).close()
        except OSError:
            return
        time.sleep(_POLL_SECONDS)


def _last_lines(log: Path, lines: int = 8) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
