"""Ways to serve the same file: how each starts, when it is ready, what is sent where."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from loadtest.bench.division import ANYWHERE, Division, halves
from loadtest.bench.options import BenchOptions
from loadtest.bench.requests import Request, Requests
from loadtest.errors import OptionError
from loadtest.payloads import infer_path
from loadtest.store import Manifest, Store

INLINE, DEPLOYMENT = "slimserve-inline", "slimserve-deployment"
PROXIED = "slimserve-inline-haproxy"
APART = "slimserve-inline-apart"
BARE_ASGI, FASTAPI, TUTORIAL = "bare-asgi", "fastapi-by-hand", "ray-serve-tutorial"
LOOP = "ort-loop"
NO_PLACEMENT = "none"
_MODEL_VARIABLE = "SLIMSERVE_BENCH_MODEL"


@dataclass(frozen=True)
class Contender:
    """A server: the command that starts it and the requests that it is sent."""

    name: str
    placement: str
    command: str
    ready_url: str
    url: str
    json: Request
    environment: Mapping[str, str] = field(default_factory=dict)
    binary: Request | None = None
    half_rate: bool = False
    """Whether it is also driven at half its rate, open loop."""
    cores: Division = ANYWHERE


@dataclass(frozen=True)
class Loop:
    """The model without a server: `command` takes the seconds as its last but one argument."""

    name: str
    inputs: Path
    rows: int
    processes: int
    environment: Mapping[str, str]


class Field:
    """Everybody who takes part, made from the options."""

    def __init__(self, options: BenchOptions) -> None:
        """Writes the request bodies and configurations below `options.out`.

        Raises:
            OptionError: the variant is not an ONNX file of a local store, or a name is unknown.
            StoreReadError: the store cannot be read.
        """
        self._options = options
        self._ray = _ray_environment(options)
        store = Store(str(options.store), options.model)
        self._champion = store.model.champion
        self._manifests = store.manifests()
        self._artifact = _artifact(options, self._manifests)
        self._requests = Requests(store.model, store.samples(), options.out)
        self._base = f"http://127.0.0.1:{options.port}"
        if unknown := [name for name in options.only if name not in (*SERVERS, LOOP)]:
            raise OptionError(
                f"--only: {', '.join(unknown)} unknown, expected some of "
                f"{', '.join((*SERVERS, LOOP))}"
            )
        self.apart_cores = halves() if self._wanted(APART) and options.cores == ANYWHERE else None
        """Of slimserve apart from the load; None where it takes no such turn: on one core, and
        where whoever runs the bench has divided the cores for all."""
        if APART in options.only and self.apart_cores is None:
            raise OptionError(
                f"--only {APART}: expected two cores or more, that no --server-cores, "
                "--gateway-cores or --load-cores divide already"
            )

    def servers(self) -> tuple[Contender, ...]:
        """Those that speak HTTP, in their order."""
        return tuple(SERVERS[name](self) for name in self._names() if self._wanted(name))

    def server(self, name: str) -> Contender:
        """One of them."""
        return SERVERS[name](self)

    def overloaded(self) -> tuple[Contender, ...]:
        """Those that are asked for more than they can do."""
        return tuple(SERVERS[name](self) for name in self._names() if name in (INLINE, APART))

    def _names(self) -> tuple[str, ...]:
        return tuple(name for name in SERVERS if name != APART or self.apart_cores is not None)

    def loop(self) -> Loop | None:
        """The bare loop, on as many cores as slimserve has gateways; None where it is left out."""
        if not self._wanted(LOOP):
            return None
        rows = self._options.binary_rows
        environment = {_MODEL_VARIABLE: str(self._artifact)}
        inputs = self._requests.arrays(rows)
        return Loop(LOOP, inputs, rows, self._options.gateways, environment)

    def _wanted(self, name: str) -> bool:
        return not self._options.only or name in self._options.only

    def apart(self) -> Contender:
        """This product, inline, with the load on cores of its own."""
        assert self.apart_cores is not None  # or it does not take part
        return self.slimserve(APART, "inline", cores=self.apart_cores)

    def slimserve(
        self, name: str, placement: str, *, proxied: bool = False, cores: Division | None = None
    ) -> Contender:
        """This product, with the variant in one of its placements; at its data port or HAProxy's,
        where it is asked for less, to keep the rounds short."""
        options = self._options
        cores = cores or options.cores
        base = self._base if proxied else f"http://127.0.0.1:{options.data_port}"
        config = options.out / f"{name}.yaml"
        config.write_text(yaml.safe_dump(self._serve_config(placement, cores)))
        command = [
            sys.executable, "-m", "serve_app", "up", "--config", str(config), "--store",
            str(options.store), "--model", options.model, "--port", str(options.port),
            "--data-port", str(options.data_port),
            "--state-dir", str(options.out / f"{name}-state"),
        ]  # fmt: skip
        return Contender(
            name=name,
            placement=placement,
            command=shlex.join(command),
            ready_url=f"{base}/v2/health/ready",
            url=base + infer_path(options.model, options.variant),
            json=self._requests.protocol(),
            environment=self._ray,
            binary=None if proxied else self._requests.binary(options.binary_rows),
            half_rate=not proxied,
            cores=cores,
        )

    def _serve_config(self, placement: str, cores: Division) -> dict[str, Any]:
        """The variant and the champion, which slimserve does not start without."""
        variants: list[dict[str, Any]] = [{"name": self._options.variant, "placement": placement}]
        if self._champion != self._options.variant:
            torch = self._manifests[self._champion].runtime.engine == "torch"
            own = {"placement": "deployment", "num_cpus": 0.1} if torch else {}
            variants.append({"name": self._champion, **own})
        args = {
            "store": str(self._options.store.resolve()),
            "model": self._options.model,
            "variants": variants,
            "gateway": {
                "num_replicas": self._options.gateways,
                "num_cpus": 0.5,
                "cores": list(cores.gateways),
            },
        }
        application = {"name": "slimserve", "import_path": "serve_app:app", "args": args}
        return {"applications": [application]}

    def bare_asgi(self) -> Contender:
        """Raw ASGI under uvicorn; it reads the same bodies as slimserve."""
        return Contender(
            name=BARE_ASGI,
            placement=NO_PLACEMENT,
            command=self._uvicorn("loadtest.baselines.bare_asgi:app"),
            ready_url=f"{self._base}/health",
            url=f"{self._base}/infer",
            json=self._requests.protocol(),
            environment={_MODEL_VARIABLE: str(self._artifact)},
            binary=self._requests.binary(self._options.binary_rows),
            half_rate=True,
            cores=self._without_gateways(),
        )

    def fastapi(self) -> Contender:
        """FastAPI by hand."""
        return Contender(
            name=FASTAPI,
            placement=NO_PLACEMENT,
            command=self._uvicorn("loadtest.baselines.fastapi_by_hand:app"),
            ready_url=f"{self._base}/health",
            url=f"{self._base}/score",
            json=self._requests.plain(),
            environment={_MODEL_VARIABLE: str(self._artifact)},
            cores=self._without_gateways(),
        )

    def tutorial(self) -> Contender:
        """Ray Serve as its tutorial shows it."""
        command = [sys.executable, "-m", "loadtest.baselines.run_tutorial", str(self._options.port)]
        return Contender(
            name=TUTORIAL,
            placement=NO_PLACEMENT,
            command=shlex.join(command),
            ready_url=f"{self._base}/health",
            url=f"{self._base}/score",
            json=self._requests.plain(),
            environment={
                _MODEL_VARIABLE: str(self._artifact),
                "RAY_USAGE_STATS_ENABLED": "0",
                **self._ray,
            },
            cores=self._without_gateways(),
        )

    def _without_gateways(self) -> Division:
        """Of those that have none."""
        return self._options.cores.model_copy(update={"gateways": ()})

    def _uvicorn(self, app: str) -> str:
        command = [
            sys.executable, "-m", "uvicorn", app, "--port", str(self._options.port),
            "--log-level", "warning", "--no-access-log",
        ]  # fmt: skip
        return shlex.join(command)


SERVERS: Mapping[str, Callable[[Field], Contender]] = {
    INLINE: lambda field_: field_.slimserve(INLINE, "inline"),
    BARE_ASGI: Field.bare_asgi,
    FASTAPI: Field.fastapi,
    TUTORIAL: Field.tutorial,
    DEPLOYMENT: lambda field_: field_.slimserve(DEPLOYMENT, "deployment"),
    PROXIED: lambda field_: field_.slimserve(PROXIED, "inline", proxied=True),
    APART: Field.apart,
}
"""In the order in which they take their turns."""


def _ray_environment(options: BenchOptions) -> Mapping[str, str]:
    """Ray counts the machine's cores, whatever its processes are held to, and would start a worker
    for each: told the server's, it does as on a machine that has no others."""
    if not options.cores.server:
        return {}
    return {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": len(options.cores.server)})}


def _artifact(options: BenchOptions, manifests: Mapping[str, Manifest]) -> Path:
    if options.variant not in manifests:
        raise OptionError(
            f"--variant: {options.variant!r} is not in the store, it has {', '.join(manifests)}"
        )
    manifest = manifests[options.variant]
    path = options.store / options.model / "variants" / options.variant / manifest.files[0].path
    if manifest.runtime.engine != "onnxruntime" or not path.is_file():
        raise OptionError(
            f"--variant {options.variant}: the baselines open an ONNX file of a local store, and "
            f"this is {path} ({manifest.runtime.engine})"
        )
    return path.resolve()
