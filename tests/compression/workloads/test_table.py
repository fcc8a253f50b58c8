"""A user's table and a user's file, from a CSV to a store; heads of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from compression.__main__ import main
from compression.errors import DataError, RecipeError
from compression.models.scorer import CalibratedScorer, ClassScorer, Scorer
from compression.store import ModelStore
from compression.training.loop import TrainConfig
from compression.training.scoring import outputs_of
from compression.workloads import examples
from compression.workloads.base import Workload
from compression.workloads.checks import check_workload
from compression.workloads.table import TableWorkload
from compression.workloads.tabular import TableConfig
from compression.workloads.training import train_original

EXAMPLES = Path(examples.__file__).parent
README = Path(__file__).parents[3] / "README.md"
ROWS = 3000
QUICK = TrainConfig(epochs=6, batch_rows=64, learning_rate=5e-2, average_decay=0.9)


class Mine(TableWorkload):
    """A linear original, and a student like it."""

    name = "mine"

    def build_original(self) -> nn.Module:
        outputs = len(self.classes) if self.head.name == "multiclass" else 1
        layers = [nn.Linear(len(self.features), outputs)]
        return nn.Sequential(*layers, nn.Flatten(0 if outputs == 1 else 1))

    def build_student(self, options: dict[str, Any]) -> nn.Module:
        return self.build_original()


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of loans; those of large sums and small incomes default, more or less."""
    generator = np.random.default_rng(0)
    amount, income = generator.lognormal(9, 0.5, ROWS), generator.lognormal(8, 0.5, ROWS)
    debt = np.log(amount) - np.log(income) + 0.5 * generator.standard_normal(ROWS)
    granted = np.datetime64("2023-01-01") + generator.integers(0, 365, ROWS)
    columns = {
        "granted_on": granted,
        "customer": generator.integers(0, 500, ROWS),
        "amount": amount,
        "income": income,
        "debt": debt,
        "grade": np.array(["a", "b", "c"])[np.digitize(debt, [0.5, 1.5])],
        "defaulted": (debt > 1.8).astype(np.int64),
    }
    path = tmp_path_factory.mktemp("data") / "loans.csv"
    pa.csv.write_csv(pa.table(columns), path)
    return path


def _config(loans: Path, original: Path, **settings: Any) -> TableConfig:
    document = {
        "data": loans, "label": "defaulted", "time": "granted_on", "group": "customer",
        "features": ["amount", "income"], "original": original,
    }  # fmt: skip
    return TableConfig.model_validate(document | settings)


def test_a_stranger_s_recipe_runs_from_csv_to_store(loans: Path, tmp_path: Path) -> None:
    """The example's files and a CSV in one folder, as the README tells it."""
    for name in ("credit_mlp.py", "credit.yaml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    shutil.copy(loans, tmp_path / "loans.csv")
    recipe, store = tmp_path / "credit.yaml", tmp_path / "store"
    quick = {"latency_rows": [1], "latency_seconds": 0.01, "samples": 64}
    document = yaml.safe_load(recipe.read_text()) | {"test": {"replicates": 100}} | quick
    document["variants"]["distilled"]["steps"][0]["distill"]["epochs"] = 4
    recipe.write_text(yaml.safe_dump(document, sort_keys=False))
    work = ["--work", str(tmp_path / "work")]
    assert main(["original", "--recipe", str(recipe), "--epochs", "2", *work]) == 0
    assert (tmp_path / "credit-original" / "model.safetensors").exists()
    assert main(["run", str(recipe), "--store", str(store), *work]) == 0
    published = ModelStore(str(store))
    assert published.variants("credit") == ("distilled", "int8", "original")
    model = published.model("credit")
    assert model.workload == "credit"
    assert model.routing_key == "customer"
    assert model.inputs[0].features == ("amount", "income")
    assert model.data["windows"]["train"]["from"] == "2023-01-01"
    original = published.manifest("credit", "original")
    assert original.quality.metrics["auc"].value > 0.85
    assert published.manifest("credit", "distilled").parameters < original.parameters / 100
    baselines = published.baselines("credit")
    assert baselines is not None
    assert baselines.baselines[0].name == "gradient-boosting"


@pytest.mark.parametrize(
    ("settings", "scorer", "shape"),
    [
        ({}, CalibratedScorer, ()),
        ({"label": "grade"}, ClassScorer, (3,)),
        ({"label": "debt", "head": "regression", "threshold": 1.5}, Scorer, ()),
    ],
)
def test_an_original_of_every_head_trains_and_reads_back(
    loans: Path, tmp_path: Path, settings: dict[str, Any], scorer: type, shape: tuple[int, ...]
) -> None:
    config = _config(loans, tmp_path / "original", **settings)
    record = train_original(Mine(config), config.original, tmp_path / "work", QUICK)
    assert record.validation_average_precision > 0.5
    workload: Workload = Mine(config)
    check_workload(workload)
    original = workload.original()
    assert type(original) is scorer
    outputs = outputs_of(original, workload.gather, workload.test)
    assert outputs.shape == (len(workload.test), *shape)
    assert workload.outputs[0].shape == (-1, *shape)
    assert workload.outputs[0].features == (("a", "b", "c") if shape else None)
    trials = workload.head.trials(outputs, workload.labels[workload.test])
    yes = trials.scores >= workload.decision_threshold
    assert trials.labels[yes].mean() > 2 * trials.labels[~yes].mean()
    baseline = workload.baseline_outputs(workload.test[:50], seed=0)
    assert baseline.shape == (50, *shape)


def test_columns_that_callers_could_not_name_are_refused(loans: Path, tmp_path: Path) -> None:
    table = pa.csv.read_csv(loans)
    names = ['the "sum"' if name == "amount" else name for name in table.column_names]
    pa.csv.write_csv(table.rename_columns(names), tmp_path / "loans.csv")
    config = _config(tmp_path / "loans.csv", tmp_path, features=['the "sum"', "income"])
    with pytest.raises(DataError, match=r"column 'the \"sum\"' .* Rename it in the file"):
        Mine(config)
    with pytest.raises(ValidationError, match=r"features\n.*amount given twice"):
        _config(loans, tmp_path, features=["amount", "income", "amount"])


def test_the_served_model_takes_features_as_the_file_has_them(loans: Path, tmp_path: Path) -> None:
    workload = Mine(_config(loans, tmp_path))
    student = workload.student({"seed": 1})
    rows = torch.from_numpy(workload.gather(workload.train)["features"])
    standardised = student.get_submodule("standardise")(rows)
    torch.testing.assert_close(standardised.mean(0), torch.zeros(2), atol=0.01, rtol=0)
    torch.testing.assert_close(standardised.std(0), torch.ones(2), atol=0.01, rtol=0)


def test_windows_follow_time_and_keys_are_the_customers(loans: Path, tmp_path: Path) -> None:
    workload = Mine(_config(loans, tmp_path))
    described = workload.describe()["windows"]
    ends = [
        described[name][end] for name in ("train", "validation", "test") for end in ("from", "to")
    ]
    assert ends == sorted(ends)
    assert sum(window["rows"] for window in described.values()) == ROWS
    keys = workload.routing_keys(workload.test[:20])
    assert keys.dtype.kind == "U"
    assert all(0 <= int(key) < 500 for key in keys)
    assert Mine(_config(loans, tmp_path, group=None)).routing_key == "row"


def test_the_hash_is_of_all_that_is_read(loans: Path, tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [
        {}, {"label": "grade"}, {"features": ["income", "amount"]}, {"split": {"train": 0.5}},
        {"group": None},
    ]  # fmt: skip
    hashes = {Mine(_config(loans, tmp_path, **changed)).data_sha256 for changed in settings}
    assert len(hashes) == len(settings)


def test_weights_from_elsewhere_take_raw_features(loans: Path, tmp_path: Path) -> None:
    """Calibration and threshold come from the validation rows."""
    weights = tmp_path / "mine.safetensors"
    save_file({"0.weight": torch.tensor([[1e-4, -1e-4]]), "0.bias": torch.zeros(1)}, weights)
    workload = Mine(_config(loans, weights))
    original = workload.original()
    rows = workload.test
    scores = outputs_of(original, workload.gather, rows)
    amount, income = workload.gather(rows)["features"].T
    assert (np.argsort(scores) == np.argsort(amount - income)).mean() > 0.99
    assert abs(scores.mean() - workload.labels[rows].mean()) < 0.05
    assert 0 < workload.decision_threshold < 1
    (tmp_path / "other.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"other\.safetensors does not hold the weights that the w"):
        Mine(_config(loans, tmp_path / "other.safetensors")).original()
    with pytest.raises(DataError, match=r"expected .*none\.safetensors"):
        _ = Mine(_config(loans, tmp_path / "none.safetensors")).original_sha256


def test_an_original_of_other_features_is_refused(loans: Path, tmp_path: Path) -> None:
    config = _config(loans, tmp_path / "original")
    train_original(Mine(config), config.original, tmp_path / "work", QUICK)
    with pytest.raises(
        RecipeError, match=r"was trained for .*'amount', 'income'.* the recipe gives"
    ):
        Mine(_config(loans, config.original, features=["amount", "debt"])).original()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(2, 1), r"build_original\(\) must give float32\[n\], .* it makes \[3, 1\]"),
        (nn.Linear(5, 1), r"build_original\(\) does not take 2 features float32\[n, 2\]: mat1"),
    ],
)
def test_a_network_of_other_shapes_is_refused(
    loans: Path, tmp_path: Path, network: nn.Module, message: str
) -> None:
    class Wrong(Mine):
        """Builds what it was given."""

        def build_original(self) -> nn.Module:
            return network

    workload = Wrong(_config(loans, tmp_path))
    with pytest.raises(RecipeError, match=f"Wrong.{message}"):
        workload.original_body(workload.architecture)


def test_a_window_of_one_label_is_refused(
    loans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.csv"
    lines = [f"2024-01-{day:02},1.5,{int(day < 3)}" for day in range(1, 31) for _ in range(20)]
    path.write_text("\n".join(["granted_on,amount,defaulted", *lines]) + "\n")
    shutil.copy(EXAMPLES / "credit_mlp.py", tmp_path / "mine.py")
    workload = {
        "name": "mine.py:CreditWorkload", "data": "one.csv", "label": "defaulted",
        "time": "granted_on", "original": "original",
    }  # fmt: skip
    document = {"version": 1, "model": "m", "workload": workload, "variants": {"original": {}}}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(document, sort_keys=False))
    for command in (["original", "--recipe", str(recipe)], ["run", str(recipe)]):
        assert main([*command, "--work", str(tmp_path / "work")]) == DataError.exit_code
        assert "the validation window has 0 positives among 100 rows" in capsys.readouterr().err


def test_training_what_was_trained_elsewhere_is_refused(
    loans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(EXAMPLES / "credit_mlp.py", tmp_path / "mine.py")
    settings = {"label": "defaulted", "time": "granted_on", "original": "w.safetensors"}
    workload = {"name": "mine.py:CreditWorkload", "data": str(loans), **settings}
    document = {"version": 1, "model": "m", "workload": workload, "variants": {"original": {}}}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["original", "--recipe", str(recipe)]) == RecipeError.exit_code
    assert "w.safetensors, trained elsewhere: to train one here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["credit_mlp.py", "credit.yaml"])
def test_the_readme_shows_the_example_as_it_is(name: str) -> None:
    assert (EXAMPLES / name).read_text() in README.read_text()
