from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import AppConfig, VariantConfig, default_state_dir, parse_config
from serve_app.errors import ConfigError


def test_store_and_model_are_enough() -> None:
    config = parse_config({"store": "s", "model": "fraud"})
    assert config.variants == ()
    assert config.admin_token_env == "SLIMSERVE_ADMIN_TOKEN"
    assert parse_config(config) is config


def test_a_configuration_is_frozen() -> None:
    config = AppConfig(store="s", model="fraud")
    with pytest.raises(ValidationError, match="frozen"):
        config.model = "other"


def deployment(**more: Any) -> dict[str, Any]:
    return {"name": "a", "placement": "deployment", **more}


@pytest.mark.parametrize("more", [{}, {"autoscaling": {"max_replicas": 2}}])
def test_a_variant_is_read_as_it_was_written(more: dict[str, Any]) -> None:
    """Catalogues hold them, and defaults are written out there."""
    config = VariantConfig.model_validate(deployment(**more))
    assert VariantConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "store: Field required; model: Field required"),
        ({"stoer": "s"}, "stoer: unknown key"),
        ({"gateway": {"num_replica": 1}}, "gateway.num_replica: unknown key"),
        ({"gateway": {"data_port": {"prot": 8080}}}, "gateway.data_port.prot: unknown key"),
        ({"gateway": {"data_port": {"port": 0}}}, "gateway.data_port.port: .*equal to 1"),
        ({"gateway": {"data_port": {"port": 70000}}}, "gateway.data_port.port: .*equal to 65535"),
        ({"gateway": {"data_port": {"host": ""}}}, "gateway.data_port.host"),
        ({"gateway": {"data_port": {"rest_seconds": -1}}}, "gateway.data_port.rest_seconds"),
        ({"variants": [{"name": "a", "placement": "gpu"}]}, "variants.0.placement"),
        ({"variants": [{"name": "../a"}]}, "is not a name"),
        ({"limits": {"max_rows": 0}}, "limits.max_rows"),
        (
            {"variants": [{"name": "a", "autoscaling": {"max_replicas": 2}}]},
            "variants.0: .*autoscaling: an inline variant has none",
        ),
        (
            {"variants": [{"name": "a", "max_ongoing_requests": 2}]},
            "max_ongoing_requests: an inline variant has none",
        ),
        (
            {"variants": [deployment(num_replicas=2, autoscaling={"max_replicas": 2})]},
            "num_replicas: given beside autoscaling",
        ),
        (
            {"variants": [deployment(autoscaling={"min_replicas": 3, "max_replicas": 2})]},
            "max_replicas: expected at least min_replicas, 3, given 2",
        ),
        (
            {"variants": [deployment(max_ongoing_requests=8, autoscaling={"max_replicas": 2})]},
            "target_ongoing_requests: expected at most 8, what a replica takes, given 16",
        ),
        ({"table": {"weights": {"a": 0.5}}}, "weights sum to 0.5, expected 1"),
    ],
)
def test_mistakes_are_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"store": "s", "model": "fraud", **args} if args else args)


def test_state_is_kept_where_the_system_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == str(tmp_path / "slimserve")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state_dir() == str(tmp_path / ".local" / "state" / "slimserve")
