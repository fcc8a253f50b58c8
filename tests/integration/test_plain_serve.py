"""Ray Serve's own commands with the shipped configuration, as deploy/serve.yaml says.

Each test has a Ray of its own, in a folder of its own: the commands of another would find it there.
"""

from __future__ import annotations

import http.client
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from serve_app.launcher.flags import FLAGS, haproxy_side_ports
from serve_app.launcher.ports import free_port
from tests.integration.load import Load, constant_load
from tests.integration.server import (
    REPOSITORY,
    START_SECONDS,
    Server,
    clean_environment,
    command_of,
    eventually,
    stop,
)
from tests.support.store import CHAMPION, MODEL, build_store, make_samples, request_body, scores

SHIPPED = REPOSITORY / "deploy" / "serve.yaml"
APPLICATION = "slimserve"
CLIENTS = 2
"""At each port: a light load."""
ENOUGH = 20
"""Answers of each variant that show that it is served."""
DEPLOYED = {"placement": "deployment", "num_cpus": 0.5}


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its sockets; the system allows their paths 107 bytes, and Ray takes 70."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def environment(ray_folder: Path, **more: str) -> dict[str, str]:
    """For Ray's commands and its workers: nothing of this process's Ray, and this checkout."""
    ours = {"RAY_TMPDIR": str(ray_folder), "PYTHONPATH": str(REPOSITORY)}
    return {**clean_environment(), **ours, **more}


def ray_program(name: str) -> str:
    """A command that Ray's package installs."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def started(
    command: list[str], log: Path, variables: Mapping[str, str], number: signal.Signals, code: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until a signal, and leaves no process then."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=REPOSITORY, env=variables,
            # Where the tests run in a script's background, it would ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        yield process
    finally:
        stop(process, log, number, code)


class Shipped:
    """The shipped configuration with a store, and ports that are free."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._document = yaml.safe_load(SHIPPED.read_text())
        self._store = build_store(folder / "store")
        self._ports = free_port(), free_port(), free_port()

    def written(self, **args: Any) -> str:
        """Path of the file, with further arguments of the application."""
        port, grpc_port, data_port = self._ports
        self._document["http_options"]["port"] = port
        self._document["grpc_options"]["port"] = grpc_port
        [application] = self._document["applications"]
        assert application["name"] == APPLICATION
        application["args"] |= {
            "store": self._store, "state_dir": str(self._folder / "state"), **args,
        }  # fmt: skip
        application["args"]["gateway"]["data_port"]["port"] = data_port
        path = self._folder / "serve.yaml"
        path.write_text(yaml.safe_dump(self._document))
        return str(path)

    def server(self, process: subprocess.Popen[bytes]) -> Server:
        """The application, as children of the process."""
        state = self._folder / "state"
        return Server(*self._ports, "", process.pid, state, Path(self._store), APPLICATION)


def is_ready(server: Server) -> bool:
    """Whether both ports answer that it is."""
    try:
        return all(
            door.request("GET", "/v2/health/ready").status == 200
            for door in (server, server.direct)
        )
    except (OSError, http.client.HTTPException):
        return False


def is_placed(server: Server, variant: str, placement: str) -> bool:
    """Whether one gateway is left, and has the variant there."""
    if len(server.replicas("Gateway")) != 1:
        return False
    path = f"/v2/models/{MODEL}/versions/{variant}"
    answers = [door.request("GET", path) for door in (server, server.direct)]
    return all(one.json()["parameters"]["placement"] == placement for one in answers)


def check_answers(server: Server) -> None:
    """At both ports."""
    expected = scores(make_samples().rows(0, 3))
    for door in (server, server.direct):
        answer = door.infer(request_body(3))
        assert (answer.status, answer.variant) == (200, CHAMPION)
        np.testing.assert_allclose(answer.json()["outputs"][0]["data"], expected, atol=1e-6)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def nobody_listens(server: Server) -> bool:
    """At none of the application's ports."""
    return not any(map(listens, (server.port, server.grpc_port, server.data_port)))


def left(server: Server) -> list[str]:
    """Processes that serve something."""
    family = psutil.Process(server.pid).children(recursive=True)
    commands = [" ".join(command_of(process)) for process in family]
    return [one for one in commands if "ray::Serve" in one or "haproxy" in one]


def gains(load: Load, variant: str, answers: int) -> bool:
    """Whether a variant gave so many."""
    return load.of(variant) >= answers


def said_slow(log: str) -> list[str]:
    return [line for line in log.splitlines() if "slow: Ray was started without" in line]


@pytest.mark.timeout(180)
def test_serve_run_without_the_flags_says_once_what_that_costs(
    tmp_path: Path, ray_folder: Path
) -> None:
    shipped, log = Shipped(tmp_path), tmp_path / "run.log"
    command = [ray_program("serve"), "run", shipped.written()]
    with started(command, log, environment(ray_folder), signal.SIGINT, 0) as process:
        server = shipped.server(process)
        eventually(lambda: process.poll() is not None or is_ready(server), START_SECONDS)
        assert process.poll() is None, log.read_text()
        check_answers(server)
        # On the terminal, and in the log of the controller alone.
        [line] = eventually(lambda: said_slow(log.read_text()))
        for part in ("RAY_SERVE_ENABLE_HA_PROXY=1", "Python proxy", "eighth of the throughput"):
            assert part in line
        logs = ray_folder.glob("ray/session_latest/logs/serve/*.log")
        [(name, _)] = [(path.name, line) for path in logs for line in said_slow(path.read_text())]
        assert name.startswith(f"replica_{APPLICATION}_Controller_")
        for door in (server, server.direct):
            assert door.request("GET", "/").json()["warning"] in line
    assert nobody_listens(server)
    assert len(said_slow(log.read_text())) == 1


@contextmanager
def cluster(
    ray_folder: Path, log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """`ray start` with the flags; its process, and the environment to speak to it.

    With `--block` it can be ended alone: `ray stop` ends every Ray of the machine.
    """
    dashboard = free_port()
    variables = environment(
        ray_folder, **FLAGS, **haproxy_side_ports(free_port(), free_port()),
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_DASHBOARD_ADDRESS=f"http://127.0.0.1:{dashboard}",
    )  # fmt: skip
    command = [
        ray_program("ray"), "start", "--head", "--block", "--port", str(free_port()),
        "--dashboard-port", str(dashboard), "--ray-client-server-port", str(free_port()),
        "--dashboard-agent-listen-port", str(free_port()),
    ]  # fmt: skip
    with started(command, log, variables, signal.SIGTERM, 1) as process:
        eventually(lambda: process.poll() is not None or listens(dashboard), START_SECONDS)
        assert process.poll() is None, log.read_text()
        yield process, variables


def serve(variables: Mapping[str, str], *arguments: str) -> None:
    """One of Ray Serve's commands that ends by itself."""
    ended = subprocess.run(
        [ray_program("serve"), *arguments], capture_output=True, text=True, cwd=REPOSITORY,
        env=variables, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.timeout(240)
def test_serve_deploy_changes_a_placement_and_no_request_fails(
    tmp_path: Path, ray_folder: Path
) -> None:
    """Inline, a deployment of its own, and back; with one gateway, as shipped."""
    shipped = Shipped(tmp_path)
    table = {"weights": {CHAMPION: 0.5, "close": 0.5}}

    def deploy(**placement: Any) -> None:
        variants = [{"name": CHAMPION}, {"name": "close", **placement}]
        serve(variables, "deploy", shipped.written(variants=variants, table=table))

    with cluster(ray_folder, tmp_path / "ray.log") as (process, variables):
        server = shipped.server(process)
        deploy()
        eventually(lambda: is_ready(server), START_SECONDS)
        for door in (server, server.direct):
            assert "warning" not in door.request("GET", "/").json()
        with (
            constant_load(server, CLIENTS) as proxied,
            constant_load(server.direct, CLIENTS) as direct,
        ):
            for wanted in (DEPLOYED, {}):
                deploy(**wanted)
                placement = str(wanted.get("placement", "inline"))
                eventually(partial(is_placed, server, "close", placement), 60)
                for load in (proxied, direct):
                    eventually(partial(gains, load, "close", load.of("close") + ENOUGH))
        for load in (proxied, direct):
            assert set(load.statuses) == {200}, load.failures
        serve(variables, "shutdown", "-y")
        eventually(lambda: nobody_listens(server) and not left(server), 30)
