from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

from compression.store import Publisher
from serve_app.launcher.ports import free_port
from tests.integration.server import (
    INFER,
    LOADED,
    REPOSITORY,
    ROUTING,
    Server,
    eventually,
    launcher,
)
from tests.support.store import CHAMPION, MODEL, build_store, make_onnx, publish


def up(
    store: Path, *arguments: str, port: int | None = None, grpc_port: int = 0, data_port: int = 0
) -> tuple[int, str]:
    """Exit code and standard error of a start that must fail."""
    where = ["--store", str(store), "--model", MODEL, "--port", str(port or free_port())]
    where += ["--grpc-port", str(grpc_port), "--state-dir", str(store.parent / "state")]
    # The shipped configuration's data port may well be taken where tests run.
    where += ["--data-port", str(data_port)]
    ended = subprocess.run(
        launcher(*where, *arguments), capture_output=True, text=True, cwd=REPOSITORY,
        timeout=90, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def test_an_empty_store(tmp_path: Path) -> None:
    code, message = up(tmp_path / "store")
    assert code == 7
    assert "no model store at" in message


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    build_store(tmp_path / "store")
    code, message = up(tmp_path / "store", "--model", "churn")
    assert code == 7
    assert "no model 'churn'" in message
    assert "it holds fraud" in message


def test_a_file_that_was_changed(tmp_path: Path) -> None:
    build_store(tmp_path / "store")
    artifact = tmp_path / "store" / MODEL / "variants" / "close" / "model.onnx"
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"\0")
    code, message = up(tmp_path / "store")
    assert code == 8
    assert "close/model.onnx" in message
    assert "sha256" in message


@pytest.mark.parametrize("kind", ["port", "grpc_port", "data_port"])
def test_a_port_that_is_taken(tmp_path: Path, kind: str) -> None:
    build_store(tmp_path / "store")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        code, message = up(tmp_path / "store", **{kind: port})
    assert code == 3
    assert f"port {port} is held by" in message
    assert f"choose another with --{kind.replace('_', '-')}" in message


def test_a_data_port_that_has_gateways_already(server: Server, tmp_path: Path) -> None:
    """They would let more of them in, and the system would share the clients out among all."""
    build_store(tmp_path / "store")
    code, message = up(tmp_path / "store", data_port=server.data_port)
    assert code == 3
    assert f"port {server.data_port} is held by ray::" in message
    assert "of an application that is running" in message
    assert "choose another port with --data-port" in message


def test_a_port_that_is_none(tmp_path: Path) -> None:
    build_store(tmp_path / "store")
    code, message = up(tmp_path / "store", data_port=70000)
    assert code == 2
    assert "--data-port: expected a port from 1 to 65535, given 70000" in message


def test_a_mistake_in_the_config(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text("applications: [{args: {stoer: x}}]")
    code, message = up(tmp_path / "store", "--config", str(path))
    assert code == 2
    assert "stoer: unknown key" in message


def test_the_flags_are_in_force(server: Server) -> None:
    """HAProxy stands in front, workers are not niced more than the launcher, nothing is missing."""
    started = psutil.Process(server.pid)
    names = [process.name() for process in started.children(recursive=True)]
    assert names.count("haproxy") == 1
    for process in server.replicas("Gateway"):
        assert process.nice() == started.nice()
    assert "warning" not in server.request("GET", "/").json()


def test_it_says_where_everything_is(server: Server) -> None:
    said = (server.state_dir.parent / "up.log").read_text()
    for path in (INFER, ROUTING, LOADED, "/metrics"):
        assert f"http://localhost:{server.port}{path}" in said
    assert f"grpc://localhost:{server.grpc_port}" in said
    direct = f"http://localhost:{server.data_port}"
    assert re.search(f"^direct +{direct}$", said, re.MULTILINE)
    assert f"curl -s -X POST {direct}{INFER} -d @" in said
    ready = json.loads((server.state_dir.parent / "ready.json").read_text())
    assert (ready["url"], ready["direct"]) == (f"http://localhost:{server.port}", direct)
    version = server.route({CHAMPION: 0.5, "close": 0.5})
    log = server.state_dir.parent / "up.log"
    eventually(lambda: f"routing table {version}: original 0.5, close 0.5" in log.read_text(), 20)


@pytest.mark.timeout(120)
def test_a_variant_that_there_is_no_room_for(tmp_path: Path) -> None:
    """It waits for a larger machine; the launcher does not, and says what is missing."""
    store = tmp_path / "store"
    build_store(store)
    variants = [{"name": CHAMPION}, {"name": "close", "placement": "deployment", "num_cpus": 64}]
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"args": {"variants": variants}}]}))
    code, message = up(store, "--config", str(path), "--ready-seconds", "6")
    assert code == 4
    assert "not ready after 6 s: " in message
    assert "close is UPDATING" in message
    assert re.search(r"; Ray has \d+ CPUs and \d+ GPUs;", message)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_a_time_limit_that_is_none(tmp_path: Path, seconds: str) -> None:
    code, message = up(tmp_path / "store", "--ready-seconds", seconds)
    assert code == 2
    assert "--ready-seconds" in message


@pytest.mark.timeout(120)
def test_a_variant_that_computes_something_else(tmp_path: Path) -> None:
    """Only a replica finds this out; the launcher says why it failed, and leaves nothing behind.

    A data port that is switched off may be taken.
    """
    store = tmp_path / "store"
    build_store(store)
    publisher = Publisher(str(store))
    publish(publisher, "wrong", make_onnx(), probe_offset=0.1)
    with socket.create_server(("127.0.0.1", 0)) as held:
        gateway = {"data_port": {"port": held.getsockname()[1]}}
        path = tmp_path / "serve.yaml"
        path.write_text(yaml.safe_dump({"applications": [{"args": {"gateway": gateway}}]}))
        code, message = up(store, "--config", str(path), data_port=0)
    assert code == 5
    assert "variant 'wrong' scores sample row" in message
    assert CHAMPION not in message
