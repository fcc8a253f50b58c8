"""One turn of one contender: started alone on the machine, measured, stopped."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.bench.contenders import NO_PLACEMENT, Contender, Loop
from loadtest.bench.options import BenchOptions
from loadtest.bench.requests import Request
from loadtest.bench.results import Case, Failure, HalfRate
from loadtest.cores import taskset
from loadtest.errors import GeneratorError
from loadtest.generator import Generator, Setup
from loadtest.measurement import ProbeSpec
from loadtest.processes import serving_flags
from loadtest.saturate import Saturation, measure, setup_for
from loadtest.server import Server
from loadtest.serving import serving
from loadtest.validity import Limits, generator_faults

_ERROR_SHARE = 0.01
_WARM_UP_REQUESTS = 50


@dataclass(frozen=True)
class Turn:
    """What was measured in it; `failures` are cases that gave an error and no figure."""

    saturations: dict[Case, Saturation]
    half_rate: HalfRate | None = None
    failures: tuple[Failure, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    """Ray's settings in the environment of the serving processes."""


@contextmanager
def started(contender: Contender, options: BenchOptions) -> Iterator[Path]:
    """The contender, up and warm, on the server's cores; yields its log.

    Raises:
        UnreachableError: it does not start.
        GeneratorError: it does not answer 200.
    """
    log = options.out / f"{contender.name}.log"
    command = " ".join((*taskset(contender.cores.server), contender.command))
    with serving(command, contender.ready_url, log, contender.environment):
        warm_up(contender, contender.json)
        yield log


def visit(contender: Contender, options: BenchOptions, round_: int) -> Turn:
    """Start, measure everything there is to measure, stop.

    Raises:
        UnreachableError, GeneratorError: it does not start, or fails requests in JSON.
    """
    with started(contender, options):
        flags = serving_flags(contender.url)
        found = _saturate(contender, contender.json, options.connections, options)
        half = None
        if contender.half_rate:
            half = _half_rate(contender, options, found, round_)
        if contender.binary is None:
            return Turn(found, half, flags=flags)
        binary, failures = _binary(contender, contender.binary, options)
        return Turn(found | binary, half, failures, flags)


def _binary(
    contender: Contender, request: Request, options: BenchOptions
) -> tuple[dict[Case, Saturation], tuple[Failure, ...]]:
    """What was measured until it failed, and the failure where it did."""
    found: dict[Case, Saturation] = {}
    try:
        warm_up(contender, request)
        for connections in options.binary_connections:
            found |= _saturate(contender, request, (connections,), options)
    except GeneratorError as error:
        failure = Failure(
            name=contender.name, body=request.form, rows=request.rows, message=str(error)
        )
        return found, (failure,)
    return found, ()


def _saturate(
    contender: Contender, request: Request, connections: tuple[int, ...], options: BenchOptions
) -> dict[Case, Saturation]:
    entries = measure(
        contender.url,
        request.body,
        connections,
        options.seconds,
        headers=request.headers,
        cores=contender.cores.load,
    )
    for entry in entries:
        if entry.errors > _ERROR_SHARE * max(1, entry.ok):
            raise GeneratorError(
                f"{contender.name} failed {entry.errors} of {entry.ok + entry.errors} requests "
                f"({request.form}, {request.rows} rows) at {entry.connections} connections, though "
                f"it answered single ones: it sheds, or see {options.out / contender.name}.log"
            )
    return {_case(contender, request, entry.connections): entry for entry in entries}


def _case(contender: Contender, request: Request, connections: int) -> Case:
    return Case(
        name=contender.name,
        placement=contender.placement,
        body=request.form,
        rows=request.rows,
        connections=connections,
    )


def warm_up(contender: Contender, request: Request) -> None:
    """The first requests, one at a time.

    Raises:
        GeneratorError: one is not answered 200; with the server's own words.
    """
    parts = urlsplit(contender.url)
    server = Server(f"{parts.scheme}://{parts.netloc}")
    content = request.body.read_bytes()
    for _ in range(_WARM_UP_REQUESTS):
        status, answer = server.call("POST", parts.path, content, request.headers)
        if status != 200:
            raise GeneratorError(
                f"{contender.name} answers {status} to {request.form} requests of {request.rows} "
                f"rows: {answer[:300].decode(errors='replace')}"
            )


def client(
    contender: Contender, request: Request, headers: Mapping[str, str] | None = None
) -> Setup:
    """Our own client of a contender, with further headers; on cores where nobody answers it goes
    before all else."""
    cores, all_headers = contender.cores, {**request.headers, **(headers or {})}
    return setup_for(contender.url, request.body, all_headers, cores.load, precedence=cores.apart)


def _half_rate(
    contender: Contender, options: BenchOptions, found: dict[Case, Saturation], round_: int
) -> HalfRate:
    """Open loop at half of the highest rate that was just seen, by our own client."""
    most = max(entry.requests_per_second for entry in found.values())
    spec = ProbeSpec(
        rate_per_second=most / 2, duration_seconds=options.half_rate_seconds, seed=round_
    )
    request = contender.json
    with Generator(client(contender, request)) as generator:
        generator.open_loop(
            spec.model_copy(update={"duration_seconds": 1.0, "seed": 1000 + round_})
        )
        run = generator.open_loop(spec).measurement
    return HalfRate(
        name=contender.name,
        round=round_,
        rate_per_second=spec.rate_per_second,
        p50_seconds=run.response.p50_seconds,
        p99_seconds=run.response.p99_seconds,
        failed_share=run.error_share,
        faults=generator_faults(run, Limits()),
    )


def visit_loop(loop: Loop, options: BenchOptions) -> Turn:
    """The bare loop on the server's cores, for as long as a server is saturated.

    Raises:
        GeneratorError: it fails, with its last words.
    """
    command = [
        *taskset(options.cores.server), sys.executable, "-m", "loadtest.baselines.ort_loop",
        str(loop.inputs), str(options.seconds), str(loop.processes),
    ]  # fmt: skip
    environment = {**os.environ, **loop.environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise GeneratorError(
            f"{loop.name} failed:\n{done.stderr.strip()[-600:]}\ncommand: {shlex.join(command)}"
        )
    found = json.loads(done.stdout)
    case = Case(
        name=loop.name,
        placement=NO_PLACEMENT,
        body="arrays",
        rows=loop.rows,
        connections=loop.processes,
    )
    entry = Saturation(
        client="none",
        connections=loop.processes,
        duration_seconds=options.seconds,
        requests_per_second=found["rows_per_second"] / loop.rows,
        p50_seconds=found["p50_seconds"],
        p99_seconds=found["p99_seconds"],
        ok=round(found["calls"]),
        errors=0,
    )
    return Turn({case: entry})
