"""`python -m loadtest profile`: what a request's time is spent on, from the model to the client.

Inside the process the application is sampled (`python -m serve_app profile`). What lies around it
is found by difference: the same application under uvicorn, at its data port, at Ray Serve's port of
the replica, and HAProxy's, all up at once and asked in turns, round by round.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.table import Table

from loadtest.bench.contenders import INLINE, NO_PLACEMENT, PROXIED, Contender, Field
from loadtest.bench.options import BenchOptions
from loadtest.bench.visit import warm_up
from loadtest.console import ERRORS, OUT
from loadtest.documents import Document
from loadtest.environment import Environment, describe
from loadtest.errors import GeneratorError, UnreachableError
from loadtest.format import rate
from loadtest.ledger import write_whole
from loadtest.processes import replica_ports
from loadtest.saturate import measure
from loadtest.server import Server
from loadtest.serving import serving
from loadtest.statistics import Ratio, median, paired_ratio

UNDISTURBED = {"x-request-disconnect-disabled": "?1"}
"""Ray Serve then does not watch for a client that goes away, and makes no task for it."""

PLAIN, DATA, DIRECT, BEHIND = "under uvicorn", "data port", "Ray's replica", "HAProxy"
DIRECT_BLIND, BEHIND_BLIND = "Ray's replica, blind", "HAProxy, blind"


class Layer(Document):
    """Median over rounds of one way to the same application; `adds` is to the one before it."""

    name: str
    p50_microseconds: float
    p50_microseconds_by_round: tuple[float, ...]
    adds_microseconds: float | None
    requests_per_second: float
    requests_per_second_by_round: tuple[float, ...]
    rate_to_plain: Ratio | None
    """Requests per second to those of the application under uvicorn."""


class Layers(Document):
    """The document profile.json."""

    schema_version: int = 1
    machine: Environment
    variant: str
    rounds: int
    connections: int
    """At which requests per second were measured; latencies are of one connection."""
    layers: tuple[Layer, ...]
    application: dict[str, object]
    """As `python -m serve_app profile` wrote it."""


@dataclass(frozen=True)
class _Way:
    name: str
    contender: Contender
    headers: dict[str, str]
    after: str | None


def profile(options: BenchOptions) -> Path:
    """Measure, print, write `profile.json`; gives its path.

    Raises:
        UnreachableError, GeneratorError: something does not start or does not answer.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    environment = describe(f"http://127.0.0.1:{options.port}")
    application = _in_process(options)
    field = Field(options)
    served, plain = field.server(INLINE), _standalone(options)
    with ExitStack() as stack:
        for one in (plain, served):
            ERRORS.print(f"starting {one.name}", highlight=False)
            log = options.out / f"{one.name}.log"
            stack.enter_context(serving(one.command, one.ready_url, log, one.environment))
        ways = _ways(plain, served, field.server(PROXIED), _direct(served, options))
        p50, rates = _measure(ways, options)
    layers = tuple(_layer(way, p50, rates) for way in ways)
    document = Layers(
        machine=environment,
        variant=options.variant,
        rounds=options.rounds,
        connections=_many(options),
        layers=layers,
        application=application,
    )
    path = options.out / "profile.json"
    write_whole(path, document.model_dump_json(indent=2) + "\n")
    _print(document)
    OUT.print(f"written to {path}")
    return path


def _many(options: BenchOptions) -> int:
    return max(options.connections)


def _in_process(options: BenchOptions) -> dict[str, object]:
    path = options.out / "application.json"
    command = [
        sys.executable, "-m", "serve_app", "profile", "--store", str(options.store), "--model",
        options.model, "--variant", options.variant, "--seconds",
        str(options.seconds * options.rounds / 2), "--json", str(path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GeneratorError(f"{shlex.join(command)} failed:\n{done.stderr.strip()[-600:]}")
    OUT.print(done.stdout, highlight=False)
    document: dict[str, object] = json.loads(path.read_text())
    return document


def _standalone(options: BenchOptions) -> Contender:
    """The application without Ray, at the next port."""
    base = f"http://127.0.0.1:{options.port + 1}"
    served = Field(options).server(INLINE)
    command = [
        sys.executable, "-m", "uvicorn", "--factory",
        "serve_app.profiling.standalone:from_environment", "--port", str(options.port + 1),
        "--log-level", "warning", "--no-access-log",
    ]  # fmt: skip
    return Contender(
        name="standalone",
        placement=NO_PLACEMENT,
        command=shlex.join(command),
        ready_url=f"{base}/v2/health/ready",
        url=base + urlsplit(served.url).path,
        json=served.json,
        environment={
            "SLIMSERVE_STORE": str(options.store.resolve()),
            "SLIMSERVE_MODEL": options.model,
            "SLIMSERVE_VARIANT": options.variant,
        },
    )


def _direct(served: Contender, options: BenchOptions) -> str:
    """Base URL of Ray Serve's own server in a gateway replica.

    Raises:
        UnreachableError: there is none, as without HAProxy.
    """
    for candidate in replica_ports(options.port):
        if candidate == options.data_port:
            continue
        base = f"http://127.0.0.1:{candidate}"
        try:
            if Server(base, 2.0).call("GET", urlsplit(served.ready_url).path)[0] == 200:
                return base
        except UnreachableError:  # another of the replica's ports, which speaks no HTTP
            continue
    raise UnreachableError(
        f"no replica behind port {options.port} answers at a port of Ray Serve's: is HAProxy "
        "switched off?"
    )


def _ways(plain: Contender, served: Contender, proxied: Contender, direct: str) -> tuple[_Way, ...]:
    at_replica = _moved(served, direct)
    return (
        _Way(PLAIN, plain, {}, None),
        _Way(DATA, served, {}, PLAIN),
        _Way(DIRECT, at_replica, {}, PLAIN),
        _Way(DIRECT_BLIND, at_replica, UNDISTURBED, PLAIN),
        _Way(BEHIND, proxied, {}, DIRECT),
        _Way(BEHIND_BLIND, proxied, UNDISTURBED, DIRECT_BLIND),
    )


def _moved(contender: Contender, base: str) -> Contender:
    path = urlsplit(contender.url).path
    return Contender(
        name=contender.name,
        placement=contender.placement,
        command=contender.command,
        ready_url=contender.ready_url,
        url=base + path,
        json=contender.json,
    )


Figures = dict[str, list[float | None]]


def _measure(ways: tuple[_Way, ...], options: BenchOptions) -> tuple[Figures, Figures]:
    for way in ways:
        warm_up(way.contender, way.contender.json)
    p50: Figures = {way.name: [] for way in ways}
    rates: Figures = {way.name: [] for way in ways}
    for round_ in range(options.rounds):
        ERRORS.print(f"round {round_ + 1}", highlight=False)
        first = round_ % len(ways)
        for way in (*ways[first:], *ways[:first]):
            one, many = measure(
                way.contender.url,
                way.contender.json.body,
                [1, _many(options)],
                options.seconds,
                headers=way.headers,
            )
            p50[way.name].append(one.p50_seconds)
            rates[way.name].append(many.requests_per_second)
    return p50, rates


def _layer(way: _Way, p50: Figures, rates: Figures) -> Layer:
    own = (median(p50[way.name]) or 0.0) * 1e6
    before = None if way.after is None else (median(p50[way.after]) or 0.0) * 1e6
    return Layer(
        name=way.name,
        p50_microseconds=own,
        p50_microseconds_by_round=tuple(1e6 * (one or 0.0) for one in p50[way.name]),
        adds_microseconds=None if before is None else own - before,
        requests_per_second=median(rates[way.name]) or 0.0,
        requests_per_second_by_round=tuple(one or 0.0 for one in rates[way.name]),
        rate_to_plain=paired_ratio(rates[way.name], rates[PLAIN]),
    )


def _print(document: Layers) -> None:
    table = Table(title=f"{document.variant}, medians of {document.rounds} rounds")
    for heading in ("way", "p50, 1 connection", "adds", f"req/s, {document.connections}", "share"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for layer in document.layers:
        adds = "" if layer.adds_microseconds is None else f"{layer.adds_microseconds:+.0f} µs"
        share = layer.rate_to_plain
        table.add_row(
            layer.name,
            f"{layer.p50_microseconds:.0f} µs",
            adds,
            rate(layer.requests_per_second),
            "" if share is None else f"{share.value:.0%}",
        )
    OUT.print(table)
    OUT.print("blind: the client sends x-request-disconnect-disabled: ?1", highlight=False)
