from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.errors import ConfigError, PortTakenError
from serve_app.launcher.ports import check_port, free_port, holders


def test_a_free_port_passes() -> None:
    check_port(free_port())


def test_a_free_port_is_none_that_the_system_hands_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is would be taken by whoever starts at the same time."""
    settings = tmp_path / "range"
    settings.write_text("20003\t60999\n")
    monkeypatch.setattr("serve_app.launcher.ports._HANDED_OUT", settings)
    ports = {free_port() for _ in range(50)}
    assert len(ports) > 1
    assert ports <= {20_000, 20_001, 20_002}


@pytest.mark.parametrize("given", ["1024\t60999\n", "nonsense", None])
def test_there_is_a_free_port_whatever_the_system_hands_out(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "range"
    if given is not None:
        settings.write_text(given)
    monkeypatch.setattr("serve_app.launcher.ports._HANDED_OUT", settings)
    check_port(free_port())


def test_a_taken_port_names_its_holder_and_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert os.getpid() in [pid for pid, _ in holders(port)]
        with pytest.raises(
            PortTakenError, match=rf"port {port} is held by .*{os.getpid()}.*--port"
        ):
            check_port(port)


def test_a_stale_haproxy_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("serve_app.launcher.ports.holders", lambda _: [(1, "haproxy")])
        with pytest.raises(PortTakenError, match=r"left over from a run that was killed.*kill 1'"):
            check_port(server.getsockname()[1])


def test_a_haproxy_that_is_in_use_is_not_called_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent is alive and one of Ray's workers; here a process that calls itself so."""
    code = (
        "import subprocess, sys; open('/proc/self/comm', 'w').write('ray::Proxy');"
        "child = subprocess.Popen(['sleep', '30']);"
        "print(child.pid, flush=True); sys.stdin.read(); child.kill()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("serve_app.launcher.ports.holders", lambda _: [(pid, "haproxy")])
        with pytest.raises(PortTakenError, match="of an application that is running") as raised:
            check_port(server.getsockname()[1], "--data-port")
    worker.communicate("")
    assert "kill" not in str(raised.value)
    assert "choose another port with --data-port" in str(raised.value)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_what_is_no_port_is_said(port: int) -> None:
    with pytest.raises(ConfigError, match=f"--data-port: expected a port from 1 .* given {port}"):
        check_port(port, "--data-port")
