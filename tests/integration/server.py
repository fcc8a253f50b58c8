"""The real application, started through its launcher, as a person would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serve_app.launcher.ports import free_port
from tests.support.store import CHAMPION, MODEL

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 30.0
LEFT_SECONDS = 20.0
"""Parts of Ray's dashboard look once a second whether it is still there."""
APPLICATION = "slimserve-test"
GATEWAYS = 2
ONGOING_REQUESTS = 100
SLOW_QUEUE_ROWS = 2
MAX_BODY_BYTES = 1 << 20
MAX_ROWS = 1024
BODY_TIMEOUT_SECONDS = 1.0
PROGRAM_TIMEOUT_SECONDS = 0.5
"""Ray Serve lets a call wait for a killed replica's successor; this is less than one needs."""
HEAVY_LIMITS = {"max_batch_rows": 4, "max_queued_rows": 512, "timeout_seconds": 30.0}
"""Of a variant that is served in both placements. To its deployment requests of one row share
calls, larger ones do not."""
ELASTIC = {
    "min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 4,
    "upscale_delay_seconds": 0, "downscale_delay_seconds": 0,
}  # fmt: skip
"""Without delays. Load is the mean of Ray Serve's last 30 s, which it hears of every 10 s."""

_APART = {"placement": "deployment", "num_cpus": 0.1}
VARIANTS: tuple[dict[str, Any], ...] = (
    *({"name": name} for name in (CHAMPION, "close", "opposite", "poor", "fragile")),
    {"name": "slow", "max_batch_rows": 1, "max_queued_rows": SLOW_QUEUE_ROWS},
    {"name": "program", **_APART, "timeout_seconds": PROGRAM_TIMEOUT_SECONDS},
    {"name": "heavy", **HEAVY_LIMITS},
    {"name": "heavy-apart", **_APART, **HEAVY_LIMITS},
    {"name": "elastic", **_APART, "autoscaling": ELASTIC},
)
"""All tiny, the slow one with hardly a queue."""

INFER = f"/v2/models/{MODEL}/infer"
ROUTING = f"/admin/v1/models/{MODEL}/routing"
LOADED = f"/admin/v1/models/{MODEL}/variants"

_T = TypeVar("_T")


def eventually(check: Callable[[], _T], seconds: float = 10.0) -> _T:
    """Call `check` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {check}"
        time.sleep(0.02)
    return result


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def variant(self) -> str:
        """Who answered."""
        return str(self.json()["model_version"])

    @property
    def parameters(self) -> dict[str, Any]:
        """The answer's parameters."""
        found: dict[str, Any] = self.json()["parameters"]
        return found


@dataclass(frozen=True)
class Server:
    """A running application."""

    port: int
    grpc_port: int
    data_port: int
    token: str
    pid: int
    state_dir: Path
    store: Path
    application: str = APPLICATION

    @property
    def direct(self) -> Server:
        """The same at the gateways' own port, without HAProxy."""
        return replace(self, port=self.data_port)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request on a connection of its own; what is not bytes is sent as JSON."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, content, dict(headers or {}))
            answer = connection.getresponse()
            named = {key.lower(): value for key, value in answer.getheaders()}
            return Response(answer.status, named, answer.read())
        finally:
            connection.close()

    def infer(self, body: Any, variant: str | None = None, **headers: str) -> Response:
        """POST …/infer, pinned by path where a variant is given."""
        path = f"/v2/models/{MODEL}/versions/{variant}/infer" if variant else INFER
        return self.request("POST", path, body, headers)

    def table(self) -> Any:
        """The routing table in force."""
        return self.request("GET", ROUTING).json()

    def admin(self, method: str, path: str, body: Any = None, token: str = "") -> Response:
        """Send a request with the admin token."""
        return self.request(method, path, body, {"Authorization": f"Bearer {token or self.token}"})

    def put(self, body: Any, token: str = "") -> Response:
        """PUT a routing table with the admin token."""
        return self.admin("PUT", ROUTING, body, token)

    def load(self, variant: str, **options: Any) -> Response:
        """Have a variant served as it is published."""
        return self.admin("POST", f"{LOADED}/{variant}", options or None)

    def unload(self, variant: str) -> Response:
        """Have a variant served no longer."""
        return self.admin("DELETE", f"{LOADED}/{variant}")

    def versions(self) -> list[str]:
        """The variants that one gateway, whichever answers, says it serves."""
        found: list[str] = self.request("GET", f"/v2/models/{MODEL}").json()["versions"]
        return found

    def route(self, weights: dict[str, float] | None = None, **more: Any) -> int:
        """Put a table in force, whatever was before; returns its version."""
        body = {"replaces": self.table()["version"], "weights": weights or {CHAMPION: 1.0}, **more}
        answer = self.put(body)
        assert answer.status == 200, answer.body
        return int(answer.json()["version"])

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Samples `slimserve_<name>` that have these labels."""
        text = self.request("GET", "/metrics").body.decode()
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"slimserve_{name}" and labels.items() <= sample.labels.items()
        ]

    def total(self, name: str, **labels: str) -> float:
        """Sum over all replicas."""
        return sum(value for _, value in self.samples(name, **labels))

    def counts(self, name: str, *by: str) -> Counter[tuple[str, ...]]:
        """Sums over all replicas by the values of some labels."""
        counted: Counter[tuple[str, ...]] = Counter()
        for labels, value in self.samples(name):
            counted[tuple(labels[label] for label in by)] += int(value)
        return counted

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Processes of a deployment's replicas."""
        title = f"ServeReplica:{self.application}:{deployment}"
        return [
            process
            for process in psutil.Process(self.pid).children(recursive=True)
            if title in " ".join(command_of(process))
        ]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty once it has ended."""
    try:
        found: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return found


def config(store: str, names: Sequence[str] = (), **gateway: Any) -> dict[str, Any]:
    """Two gateways and these variants, by default all."""
    variants = [one for one in VARIANTS if not names or one["name"] in names]
    return {
        "applications": [
            {
                "name": APPLICATION,
                "import_path": "serve_app:app",
                "args": {
                    "store": store,
                    "model": MODEL,
                    "gateway": {
                        "num_replicas": GATEWAYS,
                        "num_cpus": 0.1,
                        "max_ongoing_requests": ONGOING_REQUESTS,
                        **gateway,
                    },
                    "limits": {
                        "max_body_bytes": MAX_BODY_BYTES,
                        "max_rows": MAX_ROWS,
                        "body_timeout_seconds": BODY_TIMEOUT_SECONDS,
                    },
                    "variants": variants,
                },
            }
        ]
    }


def launcher(*arguments: str) -> list[str]:
    """The launcher's command line."""
    return [sys.executable, "-m", "serve_app", "up", *arguments]


def clean_environment() -> dict[str, str]:
    """The environment, but for what this process's Ray has put there."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


@contextmanager
def running(
    folder: Path, store: str, names: Sequence[str] = (), **gateway: Any
) -> Iterator[Server]:
    """Start the application, and on the way out stop it and see that no process is left."""
    path, ready, log = folder / "serve.yaml", folder / "ready.json", folder / "up.log"
    path.write_text(yaml.safe_dump(config(store, names, **gateway)))
    state, port, grpc_port, data_port = folder / "state", free_port(), free_port(), free_port()
    command = launcher(
        "--config", str(path), "--port", str(port), "--grpc-port", str(grpc_port),
        "--data-port", str(data_port), "--ready-file", str(ready), "--state-dir", str(state),
    )  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=REPOSITORY, env=clean_environment()
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert process.poll() is None, f"the launcher ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"not ready:\n{log.read_text()}"
            time.sleep(0.05)
        document = json.loads(ready.read_text())
        yield Server(
            port, grpc_port, data_port, document["admin_token"], process.pid, state, Path(store)
        )
    finally:
        stop(process, log)


def stop(
    process: subprocess.Popen[bytes],
    log: Path,
    number: signal.Signals = signal.SIGTERM,
    expected: int = 0,
) -> None:
    """End it in order, if it has not ended yet, and see that no process is left."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(number)
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    _, left = psutil.wait_procs(family, LEFT_SECONDS)
    names = [" ".join(command_of(one))[:80] for one in left]
    for one in left:
        one.kill()
    if code is None:
        process.kill()
    assert code == expected, f"it ended with {code}:\n{log.read_text()}"
    assert not names, f"left behind: {names}"
