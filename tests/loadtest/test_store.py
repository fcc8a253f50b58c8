import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from loadtest.errors import OptionError, StoreReadError
from loadtest.store import Store, choose


def test_the_original_comes_first(store: Path) -> None:
    manifests = Store(str(store), "fraud").manifests()
    assert next(iter(manifests)) == "original"
    assert len(manifests) == 6
    assert manifests["int8"].model_p50_seconds() == pytest.approx(1.12e-3)


def test_choosing_keeps_the_original(store: Path) -> None:
    manifests = Store(str(store), "fraud").manifests()
    assert list(choose(manifests, ["int8"])) == ["original", "int8"]
    with pytest.raises(OptionError, match=r"int4.*original"):
        choose(manifests, ["int4"])


def test_a_missing_store_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreReadError, match="--store"):
        Store(str(tmp_path), "fraud")


def test_another_schema_version_is_refused(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    path = tmp_path / "store" / "fraud" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    with pytest.raises(StoreReadError, match="schema_version"):
        Store(str(tmp_path / "store"), "fraud")


def test_pickled_samples_are_refused(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    path = tmp_path / "store" / "fraud" / "samples.npz"
    np.savez(path, routing_key=np.array([{"a": 1}], dtype=object))
    with pytest.raises(StoreReadError, match=r"samples\.npz"):
        Store(str(tmp_path / "store"), "fraud").samples()


def test_baselines_are_optional(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    opened = Store(str(tmp_path / "store"), "fraud")
    assert opened.baselines() is not None
    (tmp_path / "store" / "fraud" / "baselines.json").unlink()
    assert opened.baselines() is None
