"""The same ONNX file behind slimserve and behind Ray Serve as its tutorials show it.

Both are started, saturated and stopped in turn, A B A B …, so that a slow minute of the machine
hits both. Each is alone on the machine while it is measured, but for the client.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from rich.progress import Progress
from rich.table import Table

from loadtest.console import ERRORS, OUT
from loadtest.environment import Environment, describe
from loadtest.errors import GeneratorError
from loadtest.format import rate, seconds
from loadtest.ledger import write_whole
from loadtest.payloads import body, infer_path
from loadtest.saturate import Saturation, measure
from loadtest.server import Server
from loadtest.serving import serving
from loadtest.store import Store, choose

SLIMSERVE, TUTORIAL = "slimserve-inline", "ray-serve-tutorial"


@dataclass(frozen=True)
class BenchOptions:
    """What is measured; `seconds` per number of connections and round."""

    store: Path
    model: str
    variant: str
    out: Path
    port: int
    connections: tuple[int, ...]
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Contender:
    """A way to serve: how it starts, when it is ready, what is sent where."""

    name: str
    command: str
    environment: dict[str, str]
    ready_url: str
    url: str
    body: Path


def bench(options: BenchOptions) -> Path:
    """Measure both, print the table, write `results.json`; gives its path."""
    options.out.mkdir(parents=True, exist_ok=True)
    environment = describe(f"http://127.0.0.1:{options.port}")
    contenders = _contenders(options)
    found: dict[tuple[str, int], list[Saturation]] = {}
    with Progress(console=ERRORS) as progress:
        task = progress.add_task("serving", total=options.rounds * len(contenders))
        for round_ in range(options.rounds):
            for contender in contenders:
                progress.update(task, description=f"{contender.name}, round {round_ + 1}")
                for entry in _saturate(contender, options):
                    found.setdefault((contender.name, entry.connections), []).append(entry)
                progress.advance(task)
    document = _document(options, environment, found)
    path = options.out / "results.json"
    write_whole(path, json.dumps(document, indent=2) + "\n")
    _print(document)
    OUT.print(f"written to {path}")
    return path


def _contenders(options: BenchOptions) -> tuple[Contender, Contender]:
    store = Store(str(options.store), options.model)
    samples = store.samples()
    # The tutorial loads the published file itself; only local stores have a path to give it.
    folder = options.store / options.model / "variants" / options.variant
    artifact = folder / choose(store.manifests(), [options.variant])[options.variant].files[0].path
    base = f"http://127.0.0.1:{options.port}"
    ours, theirs = options.out / "request-oip.json", options.out / "request-tutorial.json"
    ours.write_bytes(body(store.model, samples, 0, 1))
    plain = {name: array[0].tolist() for name, array in samples.inputs.items()}
    theirs.write_text(json.dumps({"inputs": plain}))
    return (
        Contender(
            SLIMSERVE,
            f"{sys.executable} -m serve_app up --store {options.store} --model {options.model} "
            f"--port {options.port}",
            {},
            f"{base}/v2/health/ready",
            base + infer_path(options.model, options.variant),
            ours,
        ),
        Contender(
            TUTORIAL,
            f"{sys.executable} -m loadtest.baselines.run_tutorial {options.port}",
            {"SLIMSERVE_BENCH_MODEL": str(artifact.resolve()), "RAY_USAGE_STATS_ENABLED": "0"},
            f"{base}/health",
            f"{base}/score",
            theirs,
        ),
    )


def _saturate(contender: Contender, options: BenchOptions) -> list[Saturation]:
    log = options.out / f"{contender.name}.log"
    with serving(contender.command, contender.ready_url, log, contender.environment):
        _warm_up(contender)
        entries = measure(contender.url, contender.body, list(options.connections), options.seconds)
    for entry in entries:
        if entry.errors > 0.01 * max(1, entry.ok):
            raise GeneratorError(
                f"{contender.name} failed {entry.errors} of {entry.ok + entry.errors} requests at "
                f"{entry.connections} connections; see {log}"
            )
    return entries


def _warm_up(contender: Contender, requests: int = 50) -> None:
    parts = urlsplit(contender.url)
    server = Server(f"{parts.scheme}://{parts.netloc}")
    content = contender.body.read_bytes()
    for _ in range(requests):
        status, answer = server.call("POST", parts.path, content)
        if status != 200:
            raise GeneratorError(
                f"{contender.name} answers {status} to the first requests: {answer[:300]!r}"
            )


def _document(
    options: BenchOptions, environment: Environment, found: dict[tuple[str, int], list[Saturation]]
) -> dict[str, Any]:
    servers = [
        {
            "name": name,
            "connections": connections,
            "requests_per_second": median(e.requests_per_second for e in entries),
            "requests_per_second_by_round": [e.requests_per_second for e in entries],
            "p50_seconds": median(e.p50_seconds or 0.0 for e in entries),
            "p99_seconds": median(e.p99_seconds or 0.0 for e in entries),
            "client": entries[0].client,
        }
        for (name, connections), entries in sorted(found.items())
    ]
    return {
        "machine": environment.model_dump(),
        "variant": options.variant,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "servers": servers,
        "ratios": [_ratio(found, connections) for connections in options.connections],
    }


def _ratio(found: dict[tuple[str, int], list[Saturation]], connections: int) -> dict[str, Any]:
    """Requests a second, ours to the tutorial's, round by round."""
    pairs = zip(found[SLIMSERVE, connections], found[TUTORIAL, connections], strict=True)
    ratios = [ours.requests_per_second / theirs.requests_per_second for ours, theirs in pairs]
    return {
        "connections": connections,
        "requests_per_second_ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def _print(document: dict[str, Any]) -> None:
    table = Table(title=f"{document['variant']}, one row a request")
    for heading in ("server", "connections", "req/s", "p50", "p99"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for entry in document["servers"]:
        table.add_row(
            entry["name"],
            str(entry["connections"]),
            rate(entry["requests_per_second"]),
            seconds(entry["p50_seconds"]),
            seconds(entry["p99_seconds"]),
        )
    OUT.print(table)
    for entry in document["ratios"]:
        OUT.print(
            f"at {entry['connections']} connections slimserve answers "
            f"{entry['requests_per_second_ratio']:.1f} times the requests "
            f"({entry['lowest']:.1f} to {entry['highest']:.1f} over {document['rounds']} rounds)"
        )
