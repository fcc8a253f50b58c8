from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compression.store import CorruptArtifactError, StoreUnavailableError
from serve_app.application import app, make_plan
from serve_app.config import parse_config
from serve_app.errors import ConfigError
from tests.support.store import CHAMPION, MODEL, build_store

ALL = ["close", "fragile", "opposite", "original", "poor", "slow"]


def plan_of(store: str, **args: Any) -> Any:
    return make_plan(parse_config({"store": store, "model": MODEL, **args}))


def test_without_variants_all_are_served_inline(store_uri: str) -> None:
    plan = plan_of(store_uri)
    assert [variant.name for variant in plan.config.variants] == ALL
    assert {variant.placement for variant in plan.config.variants} == {"inline"}
    assert plan.table.weights == {CHAMPION: 1.0}
    assert "poor" not in plan.catalogue.weightable


def test_a_torch_variant_gets_a_deployment(tmp_path: Path) -> None:
    plan = plan_of(build_store(tmp_path, torch_original=True))
    placements = {variant.name: variant.placement for variant in plan.config.variants}
    assert placements["program"] == "deployment"
    assert placements["original"] == "inline"


def test_a_failed_gate_can_be_allowed(store_uri: str) -> None:
    variants = [{"name": CHAMPION}, {"name": "poor", "allow_failed_gate": True}]
    table = {"weights": {CHAMPION: 0.5, "poor": 0.5}}
    assert "poor" in plan_of(store_uri, variants=variants, table=table).catalogue.weightable


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"variants": [{"name": "nobody"}]}, "'nobody' is not published, expected some of close"),
        ({"variants": [{"name": "close"}]}, "champion 'original' is not among them"),
        ({"variants": [{"name": CHAMPION}, {"name": CHAMPION}]}, "given twice"),
        ({"table": {"weights": {"nobody": 1.0}}}, "not served here"),
        ({"table": {"weights": {"poor": 1.0}}}, "failed the quality gate"),
    ],
)
def test_what_does_not_fit_the_store_is_found(
    store_uri: str, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(store_uri, **args)


def test_missing_and_corrupt_stores_are_found(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no model store"):
        plan_of(str(tmp_path / "nowhere"))
    store = build_store(tmp_path)
    (tmp_path / MODEL / "variants" / "close" / "model.onnx").write_bytes(b"cut off")
    with pytest.raises(CorruptArtifactError, match="7 bytes"):
        plan_of(store)


def deployed(store: str, **more: Any) -> Any:
    """Ray Serve's configuration of a variant's deployment."""
    variants = [{"name": CHAMPION}, {"name": "close", "placement": "deployment", **more}]
    built = app({"store": store, "model": MODEL, "variants": variants})
    [models] = [arg for arg in built._bound_deployment.init_args if isinstance(arg, dict)]
    [bound] = models.values()
    return bound._bound_deployment._deployment_config


def test_a_deployment_takes_by_default_what_may_wait_and_be_computed(store_uri: str) -> None:
    config = deployed(store_uri, max_queued_rows=10, max_batch_rows=4, num_replicas=2)
    assert (config.num_replicas, config.autoscaling_config) == (2, None)
    assert (config.max_ongoing_requests, config.max_queued_requests) == (14, -1)


def test_a_deployment_follows_the_load_if_it_is_told_to(store_uri: str) -> None:
    scaling = {"max_replicas": 3, "target_ongoing_requests": 5, "upscale_delay_seconds": 1}
    config = deployed(store_uri, autoscaling=scaling, max_ongoing_requests=6, max_queued_rows=20)
    assert config.autoscaling_config.min_replicas == 1
    assert config.autoscaling_config.max_replicas == 3
    assert config.autoscaling_config.target_ongoing_requests == 5
    assert config.autoscaling_config.upscale_delay_s == 1
    assert config.autoscaling_config.downscale_delay_s == 300
    assert (config.max_ongoing_requests, config.max_queued_requests) == (6, 20)


def test_the_builder_takes_a_dict(store_uri: str) -> None:
    built = app({"store": store_uri, "model": MODEL})
    assert built._bound_deployment.name == "Gateway"
    with pytest.raises(ConfigError, match="modle: unknown key"):
        app({"store": store_uri, "modle": MODEL})
