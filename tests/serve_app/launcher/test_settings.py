from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve_app.config import DataPortConfig
from serve_app.errors import ConfigError
from serve_app.launcher.settings import SERVICER, read_settings

REPOSITORY = Path(__file__).parents[3]


def test_the_shipped_config_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    settings = read_settings(None, None, None, None, None)
    assert (settings.config.store, settings.config.model) == ("out/demo/store", "fraud")
    assert (settings.application, settings.port) == ("slimserve", 8000)
    assert settings.grpc_port == 9000
    assert settings.config.gateway.data_port == DataPortConfig()


def test_ray_serve_finds_the_shipped_configs_servicer() -> None:
    options = yaml.safe_load((REPOSITORY / "deploy" / "serve.yaml").read_text())["grpc_options"]
    assert options["grpc_servicer_functions"] == [SERVICER]
    module, _, name = SERVICER.partition(":")
    code = f"import {module}; assert callable({module}.{name})"
    # In a process of its own: tritonclient, which other tests import, has the service's name too.
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=60)


@pytest.mark.parametrize(
    ("options", "given", "port"),
    [
        ({}, None, None),
        ({"port": 9100}, None, None),
        ({"port": 9100, "grpc_servicer_functions": [SERVICER]}, None, 9100),
        ({"grpc_servicer_functions": [SERVICER]}, None, 9000),
        ({"grpc_servicer_functions": [SERVICER]}, 9200, 9200),
        ({"grpc_servicer_functions": [SERVICER]}, 0, None),
        ({}, 9200, 9200),
    ],
)
def test_grpc_is_spoken_where_it_is_configured(
    tmp_path: Path, options: dict[str, object], given: int | None, port: int | None
) -> None:
    path = tmp_path / "serve.yaml"
    args = {"store": "s", "model": "m"}
    path.write_text(yaml.safe_dump({"applications": [{"args": args}], "grpc_options": options}))
    assert read_settings(path, None, None, None, None, given).grpc_port == port


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [
        (None, None, None),
        ({}, None, DataPortConfig()),
        ({"port": 9001}, None, DataPortConfig(port=9001)),
        ({"port": 9001, "rest_seconds": 0}, 9002, DataPortConfig(port=9002, rest_seconds=0)),
        ({"port": 9001}, 0, None),
        (None, 9002, DataPortConfig(port=9002)),
        (None, 0, None),
    ],
)
def test_the_data_port_is_where_it_is_configured(
    tmp_path: Path,
    configured: dict[str, object] | None,
    given: int | None,
    expected: DataPortConfig | None,
) -> None:
    path = tmp_path / "serve.yaml"
    gateway = {"num_replicas": 2, "data_port": configured}
    args = {"store": "s", "model": "m", "gateway": gateway}
    path.write_text(yaml.safe_dump({"applications": [{"args": args}]}))
    settings = read_settings(path, None, None, None, None, None, given)
    assert settings.config.gateway.data_port == expected
    assert settings.config.gateway.num_replicas == 2


@pytest.mark.parametrize(
    ("port", "grpc_port", "data_port", "message"),
    [
        (8080, None, None, "--port and --data-port: .* given 8080 for both"),
        (None, None, 8000, "--port and --data-port: .* given 8000 for both"),
        (None, None, 9000, "--grpc-port and --data-port: .* given 9000 for both"),
        (9000, None, None, "--port and --grpc-port: .* given 9000 for both"),
    ],
)
def test_no_two_ports_are_the_same(
    port: int | None, grpc_port: int | None, data_port: int | None, message: str
) -> None:
    path = REPOSITORY / "deploy" / "serve.yaml"
    with pytest.raises(ConfigError, match=message):
        read_settings(path, "s", "m", port, None, grpc_port, data_port)


def test_what_is_switched_off_is_no_port() -> None:
    path = REPOSITORY / "deploy" / "serve.yaml"
    assert read_settings(path, "s", "m", 8080, None, 0, 0).port == 8080


def test_the_command_line_wins() -> None:
    path = REPOSITORY / "deploy" / "serve.yaml"
    settings = read_settings(path, "s", "m", 1234, "state")
    config = settings.config
    assert (config.store, config.model, config.state_dir) == ("s", "m", "state")
    assert settings.port == 1234


def test_without_a_config_store_and_model_are_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(None, "s", "m", None, None).port == 8000
    with pytest.raises(ConfigError, match="store: Field required"):
        read_settings(None, None, "m", None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("applications: [", "is not YAML"),
        ("[]", "is not a Serve config"),
        ("applications: []", "expected exactly one"),
        ("applications: [{args: {stoer: x}}]", "stoer: unknown key"),
    ],
)
def test_mistakes_name_the_file_or_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings(path, None, None, None, None)


def test_a_missing_config_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_settings(tmp_path / "none.yaml", None, None, None, None)
