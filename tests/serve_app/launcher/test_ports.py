from __future__ import annotations

import os
import socket

import pytest

from serve_app.errors import PortTakenError
from serve_app.launcher.ports import check_port, free_port, holders


def test_a_free_port_passes() -> None:
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
        monkeypatch.setattr("serve_app.launcher.ports.holders", lambda _: [(42, "haproxy")])
        with pytest.raises(PortTakenError, match=r"left over from a run that was killed.*kill 42"):
            check_port(server.getsockname()[1])
