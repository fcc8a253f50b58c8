from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compression.errors import DataError, RecipeError
from compression.models.reader import HistoryReader
from compression.models.transformer import TransformerConfig
from compression.techniques.candidate import parameter_count
from compression.workloads import find_workload
from compression.workloads.fraud.config import FraudConfig, StudentConfig
from compression.workloads.fraud.features import HISTORY_FEATURES, TRANSACTION_FEATURES
from compression.workloads.fraud.files import write_transactions
from compression.workloads.fraud.workload import FraudWorkload


def _with(workload: FraudWorkload, **settings: Any) -> FraudWorkload:
    return FraudWorkload(workload.config.model_copy(update=settings))


def test_the_registry_opens_a_workload_from_a_recipe_s_settings(
    tiny_settings: dict[str, Any], tiny_workload: FraudWorkload
) -> None:
    opened = find_workload(tiny_settings, "recipe.yaml").open()
    assert opened.data_sha256 == tiny_workload.data_sha256
    assert opened.original_sha256 == tiny_workload.original_sha256


def test_inputs_are_as_described(tiny_workload: FraudWorkload) -> None:
    inputs = tiny_workload.gather(tiny_workload.test[:5])
    assert list(inputs) == [spec.name for spec in tiny_workload.inputs]
    for spec in tiny_workload.inputs:
        assert inputs[spec.name].dtype == np.float32
        assert inputs[spec.name].shape == (5, *spec.shape[1:])
        assert spec.features is not None
    transaction, history = tiny_workload.inputs
    assert (transaction.features, history.features) == (TRANSACTION_FEATURES, HISTORY_FEATURES)


def test_windows_follow_each_other_and_share_no_row(tiny_workload: FraudWorkload) -> None:
    windows = (tiny_workload.train, tiny_workload.validation, tiny_workload.test)
    ends = [(tiny_workload.days[rows[0]], tiny_workload.days[rows[-1]]) for rows in windows]
    assert ends == [(43, 98), (106, 119), (127, 182)]
    assert len(np.unique(np.concatenate(windows))) == sum(map(len, windows))


def test_routing_keys_are_the_customers_own_ids(tiny_workload: FraudWorkload) -> None:
    keys = tiny_workload.routing_keys(tiny_workload.test[:50])
    assert keys.dtype.kind == "U"
    same = tiny_workload.groups[tiny_workload.test[:50]]
    np.testing.assert_array_equal(keys[:, None] == keys, same[:, None] == same)


def test_the_description_counts_what_there_is(tiny_workload: FraudWorkload) -> None:
    described = tiny_workload.describe()
    assert described["transactions"] == len(tiny_workload.labels)
    assert described["counts"]["test"] == {"rows": 7139, "frauds": 803}
    assert described["simulator"]["customers"] == 300
    assert described["data_sha256"] == tiny_workload.data_sha256


@pytest.mark.parametrize(
    "settings",
    [
        {"history_length": 4},
        {"simulator": {"seed": 2}},
        {"split": {"label_delay_days": 6}},
    ],
)
def test_the_hash_is_of_data_split_and_history(
    tiny_settings: dict[str, Any], tiny_workload: FraudWorkload, settings: dict[str, Any]
) -> None:
    simulator = {**tiny_settings["simulator"], **settings.get("simulator", {})}
    changed = {**tiny_settings, **settings, "simulator": simulator}
    other = find_workload(changed, "recipe.yaml").open()
    assert other.data_sha256 != tiny_workload.data_sha256


def test_a_file_of_one_s_own_gives_the_same_workload(
    tiny_workload: FraudWorkload, tmp_path: Path
) -> None:
    path = tmp_path / "cards.parquet"
    write_transactions(tiny_workload.transactions, path)
    own = _with(tiny_workload, data=path)
    assert own.describe()["file"] == "cards.parquet"
    assert "simulator" not in own.describe()
    rows = tiny_workload.test[:100]
    np.testing.assert_array_equal(own.test[:100], rows)
    np.testing.assert_array_equal(own.routing_keys(rows), tiny_workload.routing_keys(rows))
    for name, array in tiny_workload.gather(rows).items():
        np.testing.assert_allclose(own.gather(rows)[name], array, rtol=1e-5, atol=1e-5)


def test_the_original_is_the_trained_one_in_eval_mode(tiny_workload: FraudWorkload) -> None:
    original, record = tiny_workload.original(), tiny_workload.original_record
    assert not original.training
    assert parameter_count(original) == record.parameters
    assert float(original.get_buffer("slope")) == pytest.approx(record.calibration["slope"])
    assert tiny_workload.decision_threshold == record.decision_threshold
    assert tiny_workload.shipped == tiny_workload.config.original


def test_an_original_of_another_history_length_is_refused(tiny_workload: FraudWorkload) -> None:
    with pytest.raises(RecipeError, match=r"history_length is 4, but .* was trained with 8"):
        _with(tiny_workload, history_length=4).original()


def test_without_a_trained_original_it_says_how_to_train_one(
    untrained_workload: FraudWorkload, tmp_path: Path
) -> None:
    workload = _with(untrained_workload, original=tmp_path / "nowhere")
    with pytest.raises(DataError, match="Train one with"):
        workload.original()
    with pytest.raises(DataError, match="Train one with"):
        _ = workload.original_sha256
    with pytest.raises(DataError, match="Train one with"):
        _ = workload.decision_threshold


def test_students_have_the_sizes_asked_for_and_know_the_data_s_scale(
    tiny_workload: FraudWorkload,
) -> None:
    student = tiny_workload.student({"width": 8, "layers": 2, "heads": 2})
    config = student.config
    assert isinstance(config, TransformerConfig)
    assert (config.width, config.layers, config.heads, config.feed_forward) == (8, 2, 2, 128)
    assert config.history_length == 8
    rows = torch.from_numpy(tiny_workload.gather(tiny_workload.train[:5000])["transaction"])
    standardised = student.standardise_transaction(rows)
    assert float(standardised.mean(0).abs().max()) < 0.5


def test_a_student_may_be_a_reader(tiny_workload: FraudWorkload) -> None:
    student = tiny_workload.student({"architecture": "reader", "width": 8, "layers": 2})
    assert isinstance(student, HistoryReader)
    assert (student.config.hops, student.config.recent_rows) == (2, 8), "the history has 8 rows"
    inputs = tiny_workload.gather(tiny_workload.train[:5]).values()
    assert student(*(torch.from_numpy(array) for array in inputs)).shape == (5,)


def test_a_student_s_seed_decides_its_weights(tiny_workload: FraudWorkload) -> None:
    one, same, other = (tiny_workload.student({"seed": seed}) for seed in (1, 1, 2))
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)


@pytest.mark.parametrize(
    "options",
    [{"depth": 3}, {"width": 0}, {"width": 30, "heads": 4}, {"heads": 0}, {"recent_rows": 2}],
)
def test_impossible_students_are_refused(
    tiny_workload: FraudWorkload, options: dict[str, int]
) -> None:
    with pytest.raises(ValidationError):
        StudentConfig.model_validate(options)
    with pytest.raises(ValidationError):
        tiny_workload.student(options)


def test_the_workload_s_settings_refuse_unknown_keys() -> None:
    with pytest.raises(ValidationError, match="colour"):
        FraudConfig.model_validate({"colour": "red"})
    with pytest.raises(ValidationError, match="history_length"):
        FraudConfig(history_length=0)
