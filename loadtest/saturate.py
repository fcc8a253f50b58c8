"""Closed-loop saturation of one URL: `wrk` where it is installed, our own client elsewhere.

For throughput only. A closed loop leaves server stalls out of its latencies, so p50 and p99 here
are those of requests that happened to be sent.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from rich.table import Table

from loadtest.console import OUT
from loadtest.cores import taskset
from loadtest.documents import Document
from loadtest.errors import GeneratorError, OptionError
from loadtest.format import rate, seconds
from loadtest.generator import Generator, Setup
from loadtest.measurement import ClosedSpec

Client = Literal["auto", "wrk", "own"]

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_QUANTILE = re.compile(r"^\s+(50|75|90|99)%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_TOTAL = re.compile(r"^\s*(\d+) requests in", re.MULTILINE)
_ERRORS = re.compile(r"Non-2xx or 3xx responses:\s+(\d+)")
_SOCKET = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class Saturation(Document):
    """Throughput of a number of connections; client `none`: a loop without a server."""

    client: Literal["wrk", "own", "none"]
    connections: int
    duration_seconds: float
    requests_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    ok: int
    errors: int


def parse_wrk(text: str, connections: int, duration_seconds: float) -> Saturation:
    """What `wrk --latency` printed.

    Raises:
        GeneratorError: it is not wrk's output.
    """
    found = _RATE.search(text)
    total = _TOTAL.search(text)
    if found is None or total is None:
        raise GeneratorError(f"wrk printed something else than expected: {text[:200]!r}")
    quantiles = {q: float(value) * _UNITS[unit] for q, value, unit in _QUANTILE.findall(text)}
    bad = _ERRORS.search(text)
    broken = _SOCKET.search(text)
    answered_badly = int(bad.group(1)) if bad else 0
    per_second = float(found.group(1))
    answered = int(total.group(1))
    return Saturation(
        client="wrk",
        connections=connections,
        duration_seconds=duration_seconds,
        # wrk counts every answer; only good ones are throughput.
        requests_per_second=per_second * (answered - answered_badly) / max(1, answered),
        p50_seconds=quantiles.get("50"),
        p99_seconds=quantiles.get("99"),
        ok=answered - answered_badly,
        errors=answered_badly + (sum(map(int, broken.groups())) if broken else 0),
    )


def _script(body: bytes, headers: Mapping[str, str]) -> str:
    """wrk takes a POST body from a script only; as numbers, any byte can stand in one."""
    named = {"Content-Type": "application/json", **headers}
    lines = [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in named.items()
    ]
    text = "".join(f"\\{byte:03d}" for byte in body)
    return "\n".join(['wrk.method = "POST"', *lines, f'wrk.body = "{text}"', ""])


def with_wrk(
    url: str,
    body: bytes,
    connections: int,
    duration_seconds: float,
    headers: Mapping[str, str] | None = None,
    cores: Sequence[int] = (),
) -> Saturation:
    """One run of wrk with one thread, which saturates more than two cores of server."""
    with tempfile.NamedTemporaryFile("w", suffix=".wrk", encoding="ascii") as script:
        script.write(_script(body, headers or {}))
        script.flush()
        command = [*taskset(cores), "wrk", "-t1", f"-c{connections}",
                   f"-d{max(1, round(duration_seconds))}s", "--latency", "-s", script.name,
                   url]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GeneratorError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return parse_wrk(done.stdout, connections, duration_seconds)


def with_own(generator: Generator, connections: int, duration_seconds: float) -> Saturation:
    """One run of our own client."""
    result = generator.closed_loop(
        ClosedSpec(connections=connections, duration_seconds=duration_seconds)
    )
    return Saturation(
        client="own",
        connections=connections,
        duration_seconds=duration_seconds,
        requests_per_second=result.requests_per_second,
        p50_seconds=result.latency.p50_seconds,
        p99_seconds=result.latency.p99_seconds,
        ok=result.ok,
        errors=result.errors,
    )


def setup_for(
    url: str,
    body: Path,
    headers: Mapping[str, str] | None = None,
    cores: Sequence[int] = (),
    *,
    precedence: bool = False,
) -> Setup:
    """Settings of our own client for one body and one URL, asked as fast as the server can.

    With `precedence` it goes before others on its cores: see `generator.take_precedence`.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    base = f"{parts.scheme}://{parts.netloc}"
    return Setup(
        url=base,
        body_file=str(body),
        path=path,
        headers=dict(headers or {}),
        precedence=precedence,
        cores=tuple(cores),
    )


def measure(
    url: str,
    body: Path,
    connections: Sequence[int],
    duration_seconds: float,
    client: Client = "auto",
    headers: Mapping[str, str] | None = None,
    cores: Sequence[int] = (),
) -> list[Saturation]:
    """Saturate `url` with the content of `body`, once per number of connections.

    `headers` are sent besides the usual ones; the body is JSON unless they say else. The client
    stays on `cores`, where there are any.

    Raises:
        OptionError: the body cannot be read, a number is out of range, or wrk is not there.
    """
    if duration_seconds <= 0 or any(number < 1 for number in connections):
        raise OptionError("--duration and --connections must be positive")
    try:
        content = body.read_bytes()
    except OSError as error:
        raise OptionError(f"--body {body}: {error.strerror}") from error
    installed = shutil.which("wrk") is not None
    if client == "wrk" and not installed:
        raise OptionError("--client wrk: wrk is not installed; use --client own")
    if client != "own" and installed:
        return [with_wrk(url, content, n, duration_seconds, headers, cores) for n in connections]
    with Generator(setup_for(url, body, headers, cores)) as generator:
        return [with_own(generator, number, duration_seconds) for number in connections]


def run(
    url: str,
    body: Path,
    connections: list[int],
    duration_seconds: float,
    *,
    client: Client = "auto",
    as_json: bool = False,
) -> None:
    """Measure and print.

    Raises:
        GeneratorError: not one request was answered well.
    """
    found = measure(url, body, connections, duration_seconds, client)
    if as_json:
        OUT.print_json(json.dumps([entry.model_dump() for entry in found]))
    else:
        shown = Table()
        for heading in ("client", "connections", "req/s", "p50", "p99", "errors"):
            shown.add_column(heading, justify="right")
        for entry in found:
            shown.add_row(
                entry.client,
                str(entry.connections),
                rate(entry.requests_per_second),
                seconds(entry.p50_seconds),
                seconds(entry.p99_seconds),
                str(entry.errors),
            )
        OUT.print(shown)
    if any(not entry.ok for entry in found):
        raise GeneratorError(f"{url} answered no request with status 200")
