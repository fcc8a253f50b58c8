from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compression.store import ModelStore, Publisher
from serve_app.catalogue import Catalogue, read_entry
from serve_app.config import VariantConfig
from serve_app.errors import (
    ControlError,
    InvalidOptionsError,
    NeedsRedeployError,
    NotPublishedError,
    UnloadableError,
    VariantInUseError,
)
from serve_app.keeper import Keeper, check_unused
from serve_app.routing.table import RoutingTable
from tests.support.store import (
    CHAMPION,
    MODEL,
    build_store,
    make_document,
    make_program,
    make_samples,
    publish,
)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return build_store(tmp_path / "store")


def keeper(store: str, state: Path, *names: str, deployed: str = "slow") -> Keeper:
    """One that was configured with these variants, and with `deployed` as a deployment."""
    opened = ModelStore(store)
    configs = [VariantConfig(name=name) for name in names or (CHAMPION, "close")]
    configs.append(VariantConfig(name=deployed, placement="deployment"))
    planned = Catalogue(entries=tuple(read_entry(opened, MODEL, config) for config in configs))
    return Keeper(store, opened.model(MODEL), planned, state)


def test_a_variant_comes_and_goes(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    more = made.with_variant("opposite", {"max_batch_rows": 8})
    assert (more.version, more.planned) == (2, False)
    assert more.names == (CHAMPION, "close", "slow", "opposite")
    assert more.entries[-1].config.max_batch_rows == 8
    made.keep(more)
    fewer = made.without_variant("close")
    assert (fewer.version, fewer.names) == (3, (CHAMPION, "slow", "opposite"))


def test_options_stay_until_they_are_changed(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    made.keep(made.with_variant("close", {"max_batch_rows": 8, "allow_failed_gate": True}))
    made.keep(made.with_variant("close", {"max_batch_rows": 9}))
    entry = made.current.find("close")
    assert entry is not None
    assert (entry.config.max_batch_rows, entry.config.allow_failed_gate) == (9, True)
    assert made.current.version == 3


def test_a_variant_published_anew_keeps_its_place(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    folder = Path(store) / MODEL / "variants" / "close" / "manifest.json"
    folder.write_text(folder.read_text().replace('"parameters": 6', '"parameters": 7'))
    after = made.with_variant("close", {})
    assert after.names == made.current.names
    assert after.manifests["close"].parameters == 7
    assert after.digest() != made.current.digest()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("nobody", {}, NotPublishedError, "'nobody' is not published, expected one of close"),
        ("close", {"max_batch_row": 1}, InvalidOptionsError, "max_batch_row: unknown key"),
        ("close", {"name": "poor"}, InvalidOptionsError, "name is 'poor', expected 'close'"),
        ("close", {"placement": "deployment"}, NeedsRedeployError, "would be a deployment"),
        ("slow", {"num_replicas": 2}, NeedsRedeployError, "is a deployment of its own"),
        ("slow", {"placement": "inline"}, NeedsRedeployError, "is a deployment of its own"),
    ],
)
def test_what_cannot_be_loaded(
    store: str, tmp_path: Path, name: str, options: dict[str, Any],
    error: type[ControlError], message: str,
) -> None:  # fmt: skip
    made = keeper(store, tmp_path)
    with pytest.raises(error, match=message):
        made.with_variant(name, options)


def test_a_deployment_that_is_the_same_is_there_already(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    assert made.with_variant("slow", {}) is made.current


def test_a_variant_that_needs_torch_is_not_for_gateways(store: str, tmp_path: Path) -> None:
    publish(Publisher(store), "program", make_program(), engine="torch")
    with pytest.raises(NeedsRedeployError, match="placement: deployment"):
        keeper(store, tmp_path).with_variant("program", {})


def test_a_broken_file_is_found(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    (Path(store) / MODEL / "variants" / "opposite" / "model.onnx").write_bytes(b"cut off")
    with pytest.raises(UnloadableError, match="7 bytes"):
        made.with_variant("opposite", {})


def test_another_champion_needs_a_deployment_and_other_samples_do_not(
    store: str, tmp_path: Path
) -> None:
    made = keeper(store, tmp_path)
    Publisher(store).publish_model(make_document(), make_samples(65))
    assert "opposite" in made.with_variant("opposite", {}).names
    Publisher(store).publish_model(make_document(champion="close"), make_samples())
    with pytest.raises(NeedsRedeployError, match=r"model\.json of 'fraud' was published anew"):
        made.with_variant("opposite", {})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nobody", NotPublishedError, "'nobody' is not served, expected one of original, close"),
        (CHAMPION, VariantInUseError, "name another champion in model.json, then deploy again"),
        ("slow", NeedsRedeployError, "take it out of `variants`"),
    ],
)
def test_what_cannot_go(
    store: str, tmp_path: Path, name: str, error: type[ControlError], message: str
) -> None:
    made = keeper(store, tmp_path)
    with pytest.raises(error, match=message):
        made.without_variant(name)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"weights": {CHAMPION: 0.9, "close": 0.1}}, r"weight 0\.1 in routing table 7"),
        ({"weights": {CHAMPION: 1.0, "close": 0.0}}, "weight 0 in"),
        ({"shadow": {"variant": "close", "sample_rate": 0.5}}, "has its shadow in"),
    ],
)
def test_what_the_table_names_cannot_go(more: dict[str, Any], message: str) -> None:
    document = {"version": 7, "model": MODEL, "weights": {CHAMPION: 1.0}, **more}
    with pytest.raises(VariantInUseError, match=message):
        check_unused("close", RoutingTable.model_validate(document))
    check_unused("poor", RoutingTable.model_validate(document))


def test_a_kept_catalogue_outlives_a_restart(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    made.keep(made.with_variant("opposite", {}))
    assert keeper(store, tmp_path).current == made.current
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue.json", "store"]


def test_another_plan_wins_over_a_kept_catalogue(store: str, tmp_path: Path) -> None:
    made = keeper(store, tmp_path)
    made.keep(made.with_variant("opposite", {}))
    other = keeper(store, tmp_path, CHAMPION, "poor").current
    assert other.names == (CHAMPION, "poor", "slow")
    assert (other.version, other.planned) == (made.current.version + 1, True)


def test_a_kept_catalogue_that_cannot_be_read_is_left(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "catalogue.json").write_text("digest\n" + json.dumps({"version": "x"}))
    assert keeper(store, tmp_path).current.version == 1
    assert "cannot be read" in caplog.text
