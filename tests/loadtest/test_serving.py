"""A measured server is started, waited for, and gone afterwards."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import textwrap
from pathlib import Path

import pytest

from loadtest.errors import UnreachableError
from loadtest.serving import serving

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{}')
    def log_message(self, *args):
        pass
print('pid', __import__('os').getpid(), flush=True)
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _command(code: str, *arguments: object) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


def test_a_server_is_up_inside_and_gone_afterwards(tmp_path: Path) -> None:
    port, log = _free_port(), tmp_path / "server.log"

    with serving(_command(SERVER, port), f"http://127.0.0.1:{port}/", log) as start_seconds:
        assert start_seconds > 0
        pid = int(log.read_text().split()[1])
        os.kill(pid, 0)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_is_interrupted_also_by_a_job_in_the_background(tmp_path: Path) -> None:
    port, log = _free_port(), tmp_path / "server.log"
    server = f"try:\n{textwrap.indent(SERVER, '    ')}\nexcept KeyboardInterrupt: print('bye')"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with serving(_command(server, port), f"http://127.0.0.1:{port}/", log):
            pass
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert log.read_text().endswith("bye\n")


def test_a_server_that_ends_early_is_explained_with_its_last_words(tmp_path: Path) -> None:
    command = _command("import sys; sys.exit('no such store: out/nowhere')")

    with (
        pytest.raises(UnreachableError, match=r"(?s)exit code 1.*no such store: out/nowhere"),
        serving(command, f"http://127.0.0.1:{_free_port()}/", tmp_path / "server.log"),
    ):
        pytest.fail("it never was ready")


def test_a_server_is_stopped_when_the_measurement_fails(tmp_path: Path) -> None:
    port, log = _free_port(), tmp_path / "server.log"

    def measure() -> None:
        with serving(_command(SERVER, port), f"http://127.0.0.1:{port}/", log):
            raise RuntimeError("the measurement failed")

    with pytest.raises(RuntimeError, match="measurement"):
        measure()
    pid = int(log.read_text().split()[1])

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_command_gets_the_environment_given(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    command = _command("import os, sys; sys.exit(os.environ['SLIMSERVE_BENCH_MODEL'])")

    with (
        pytest.raises(UnreachableError, match=r"a/model\.onnx"),
        serving(
            command,
            f"http://127.0.0.1:{_free_port()}/",
            log,
            {"SLIMSERVE_BENCH_MODEL": "a/model.onnx"},
        ),
    ):
        pytest.fail("it never was ready")


LINGERING = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
try:
    child.wait()
except KeyboardInterrupt:
    # Ends first; the child lets go of the port a second later.
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {child.pid}"])
    os._exit(0)
"""


def test_the_port_is_free_in_the_end(tmp_path: Path) -> None:
    port = _free_port()
    server = SERVER.replace(
        "import http", "import signal; signal.signal(2, signal.SIG_IGN); import http"
    )
    command = _command(LINGERING, port, server)
    with serving(command, f"http://127.0.0.1:{port}/", tmp_path / "server.log"):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1.0)
