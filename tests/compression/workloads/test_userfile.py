"""Workloads in the user's own file: found, checked, pinned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.errors import RecipeError
from compression.recipe import Recipe, load_recipe
from compression.workloads import find_workload
from compression.workloads.userfile import load_user_class

MINE = '''
from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from torch import nn

from compression.workloads.table import TableWorkload


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 4


class Mine(TableWorkload):
    name = "mine"
    student_type = Options

    def build_original(self) -> nn.Module:
        return nn.Sequential(nn.Linear(len(self.features), 1), nn.Flatten(0))

    def build_student(self, options):
        return self.build_original()


class Bare:
    """No workload at all."""


class Loose(Mine):
    class student_type(BaseModel):
        pass


class Half(TableWorkload):
    name = "half"


class Nameless(TableWorkload):
    def build_original(self) -> nn.Module:
        return nn.Flatten(0)

    def build_student(self, options):
        return nn.Flatten(0)
'''
TABLE = {"data": "loans.csv", "label": "bad", "time": "when", "original": "here"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def _recipe(folder: Path, workload: Any, **rest: Any) -> Path:
    document = {"version": 1, "model": "mine", "workload": workload, "variants": {"original": {}}}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document | rest))
    return path


def test_a_class_is_loaded_beside_the_recipe(file: Path) -> None:
    path = _recipe(file.parent, {"name": "mine.py:Mine", **TABLE})
    chosen = find_workload(load_recipe(path).workload, str(path))
    assert chosen.kind.__name__ == "Mine"
    assert chosen.settings.model_dump()["data"] == file.parent / "loans.csv"
    assert chosen.kind.__module__ in sys.modules
    assert chosen.kind.__module__.startswith("slimserve_workload_")


def test_an_absolute_path_stays(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    path = _recipe(other, {"name": f"{file}:Mine", **TABLE, "data": "/data/loans.csv"})
    chosen = find_workload(load_recipe(path).workload, str(path))
    assert chosen.settings.model_dump()["data"] == Path("/data/loans.csv")


def test_the_same_file_is_run_once_and_a_changed_one_anew(file: Path) -> None:
    first, again = (load_user_class("mine.py:Mine", file.parent) for _ in range(2))
    assert first.kind is again.kind
    file.write_text(MINE + "\nVERSION = 2\n")
    changed = load_user_class("mine.py:Mine", file.parent)
    assert changed.sha256 != first.sha256
    assert changed.kind is not first.kind


def test_the_recipe_s_hash_is_of_the_user_s_file_too(file: Path) -> None:
    path = _recipe(file.parent, {"name": "mine.py:Mine", **TABLE})

    def loaded() -> Recipe:
        return load_recipe(path)

    before = loaded()
    assert before.sha256 == loaded().sha256
    file.write_text(MINE + "\n# another comment\n")
    assert loaded().sha256 != before.sha256
    with pytest.raises(RecipeError, match="it is not the file that was meant, or it was changed"):
        find_workload(before.workload, str(path))


def test_a_file_can_be_pinned(file: Path) -> None:
    digest = load_user_class("mine.py:Mine", file.parent).sha256
    load_recipe(_recipe(file.parent, {"name": "mine.py:Mine", "sha256": digest, **TABLE}))
    path = _recipe(file.parent, {"name": "mine.py:Mine", "sha256": "0" * 64, **TABLE})
    with pytest.raises(RecipeError, match=f"workload.sha256 is 0+, but the file .* has {digest}"):
        load_recipe(path)


def test_a_workload_may_be_a_name_alone(tmp_path: Path) -> None:
    assert load_recipe(_recipe(tmp_path, "fraud")).workload == {"name": "fraud"}


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        ("gone.py:Mine", "cannot read .*gone.py: No such file"),
        (
            "mine.py:Nothing",
            r"no class 'Nothing'; classes in it: Options, Mine, Bare, Loose, Half, Nameless",
        ),
        ("mine.py:nn", "no class 'nn'"),
        (
            "mine.py:Bare",
            "mine.py:Bare is no workload: name is missing; data_sha256 is missing; .*"
            "settings_type must be a pydantic model, it is None",
        ),
        ("mine.py:Nameless", "mine.py:Nameless is no workload: name is missing. compression/"),
        ("mine.py:Half", "is no workload: build_original is missing; build_student is missing"),
        (
            "mine.py:Loose",
            r"student_type \(student_type\) must refuse unknown keys: model_config =",
        ),
        ("mine.py:Mine", "workload: data: Field required"),
        (
            {"name": "mine.py:Mine", **TABLE, "colour": 1},
            "unknown key 'colour'; allowed here: data",
        ),
        ({"name": "mine.py:Mine", **TABLE, "split": {"test": 1}}, "allowed here: gap_days, train"),
        ("mine.Mine", "allowed: fraud, verification, or path/to/file.py:ClassName"),
    ],
)
def test_what_is_no_workload_is_refused_before_any_data_is_read(
    file: Path, workload: Any, message: str
) -> None:
    path = _recipe(file.parent, workload)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert RecipeError.exit_code == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("class Mine(:", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    before = set(sys.modules)
    with pytest.raises(RecipeError, match=f"mine.py cannot be imported: {message}"):
        load_recipe(_recipe(file.parent, "mine.py:Mine"))
    kept = [name for name in set(sys.modules) - before if name.startswith("slimserve_workload_")]
    assert kept == [], "no half of it is kept"


def test_a_mistake_in_the_user_s_file_shows_its_own_traceback(file: Path) -> None:
    file.write_text("raise ZeroDivisionError('mine')")
    with pytest.raises(ZeroDivisionError, match="mine"):
        load_recipe(_recipe(file.parent, "mine.py:Mine"))


def test_a_student_s_options_are_checked_by_the_user_s_model(file: Path) -> None:
    distill = {"from": "original", "steps": [{"distill": {"student": {"depth": 3}}}]}
    variants = {"original": {}, "small": distill}
    path = _recipe(file.parent, {"name": "mine.py:Mine", **TABLE}, variants=variants)
    with pytest.raises(RecipeError, match="student: unknown key 'depth'; allowed here: width"):
        load_recipe(path)
