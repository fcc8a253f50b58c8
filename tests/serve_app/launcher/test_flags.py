from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.config import parse_config
from serve_app.launcher.flags import FLAGS, explain_missing

SHIPPED = Path(__file__).parents[3] / "deploy" / "serve.yaml"


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
    line = re.compile(r'^# +export (RAY_\w+)="?([^"#\n]*?)"? *(?:#.*)?$', re.MULTILINE)
    exports = dict(line.findall(SHIPPED.read_text()))
    assert FLAGS.items() <= exports.items()


def test_ray_serve_takes_the_shipped_config() -> None:
    document = ServeDeploySchema.model_validate(yaml.safe_load(SHIPPED.read_text()))
    [application] = document.applications
    assert application.import_path == "serve_app:app"
    assert parse_config(application.args).model == "fraud"
