"""From a Serve config file and the command line to the application's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from serve_app.config import AppConfig, DataPortConfig, parse_config
from serve_app.errors import ConfigError

DEFAULT_CONFIG = Path("deploy/serve.yaml")
DEFAULT_PORT = 8000
DEFAULT_GRPC_PORT = 9000
APPLICATION = "slimserve"
SERVICER = "serve_app.protocol.inference.servicer:add_servicer"
"""What `grpc_options.grpc_servicer_functions` must name for Ray Serve to open the gRPC port."""


@dataclass(frozen=True)
class Settings:
    """What to run, and where it listens."""

    config: AppConfig
    application: str
    port: int
    grpc_port: int | None
    """None: no gRPC."""


def read_settings(
    path: Path | None,
    store: str | None,
    model: str | None,
    port: int | None,
    state: str | None,
    grpc_port: int | None = None,
    data_port: int | None = None,
) -> Settings:
    """Settings of a Serve config; arguments that are not None win over it.

    gRPC is spoken where the config has `grpc_options` with servicer functions, or a port is given;
    a given port of 0 switches it off. So it is with the data port and `gateway.data_port`.

    Raises:
        ConfigError: the file is missing, is not a Serve config of one application, its args are
            wrong, or two ports are the same.
    """
    document = _load(path)
    application = _application(document, path or DEFAULT_CONFIG)
    args = dict(application.get("args") or {})
    args |= {"store": store} if store is not None else {}
    args |= {"model": model} if model is not None else {}
    args |= {"state_dir": state} if state is not None else {}
    options = document.get("http_options") or {}
    settings = Settings(
        config=_with_data_port(parse_config(args), data_port),
        application=str(application.get("name", APPLICATION)),
        port=port if port is not None else int(options.get("port", DEFAULT_PORT)),
        grpc_port=_grpc_port(document) if grpc_port is None else grpc_port or None,
    )
    _check_different(settings)
    return settings


def _check_different(settings: Settings) -> None:
    """HAProxy and gateways would share a port, and each get some of the other's clients."""
    data_port = settings.config.gateway.data_port
    ports = {"--port": settings.port, "--grpc-port": settings.grpc_port}
    ports["--data-port"] = None if data_port is None else data_port.port
    for one, other in combinations(ports, 2):
        if ports[one] == ports[other] is not None:
            raise ConfigError(
                f"{one} and {other}: expected different ports, given {ports[one]} for both"
            )


def _with_data_port(config: AppConfig, port: int | None) -> AppConfig:
    if port is None:
        return config
    if port == 0:
        settings = None
    else:
        settings = (config.gateway.data_port or DataPortConfig()).model_copy(update={"port": port})
    gateway = config.gateway.model_copy(update={"data_port": settings})
    return config.model_copy(update={"gateway": gateway})


def _grpc_port(document: dict[str, Any]) -> int | None:
    options = document.get("grpc_options") or {}
    if not options.get("grpc_servicer_functions"):
        return None
    return int(options.get("port", DEFAULT_GRPC_PORT))


def _load(path: Path | None) -> dict[str, Any]:
    if path is None and not DEFAULT_CONFIG.is_file():
        return {"applications": [{"name": APPLICATION}]}
    path = path or DEFAULT_CONFIG
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a Serve config: expected a mapping with applications")
    return document


def _application(document: dict[str, Any], path: Path) -> dict[str, Any]:
    applications = document.get("applications")
    if not isinstance(applications, list) or len(applications) != 1:
        raise ConfigError(f"{path}: applications: expected exactly one")
    application: dict[str, Any] = applications[0]
    return application
