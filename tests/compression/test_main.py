"""The command line: what it prints and what it ends with."""

from __future__ import annotations

import csv
import errno
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.__main__ import INTERRUPTED, main
from compression.commands import COMMANDS
from compression.recipe import Recipe
from compression.store import Manifest, ModelStore
from tests.support.store import build_store

BAD_RECIPE, BAD_DATA, NO_STORE, CORRUPT, UNWRITABLE = 4, 3, 7, 8, 13


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All tiny variants; nothing may write to it."""
    return build_store(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def own_store(tmp_path: Path) -> Path:
    """A store to break."""
    build_store(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as wide as they want to be."""
    monkeypatch.setenv("COLUMNS", "200")


def _recipe(folder: Path, **workload: Any) -> str:
    document = {
        "version": 1,
        "model": "fraud",
        "workload": {"name": "fraud", **workload},
        "variants": {"original": {}},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def _run(recipe: str, folder: Path) -> int:
    return main(["run", recipe, "--store", str(folder / "store"), "--work", str(folder / "work")])


def test_list_shows_every_variant(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--store", store]) == 0
    out = capsys.readouterr().out
    assert "variants of fraud" in out
    for name in ("original", "close", "opposite", "poor", "fragile", "slow"):
        assert name in out
    assert "reference" in out
    assert "passed" in out
    assert "failed" in out
    assert main(["list", "--store", store, "--model", "fraud"]) == 0
    assert capsys.readouterr().out == out


def test_show_prints_the_manifest(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "close", "--store", store, "--model", "fraud"]) == 0
    out = capsys.readouterr().out
    written = Path(store) / "fraud" / "variants" / "close" / "manifest.json"
    assert json.loads(out) == json.loads(written.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list"], "no model store at"),
        (["show", "close"], "no model store at"),
        (["list", "--model", "fraud"], "no model store at"),
    ],
)
def test_a_missing_store_says_how_to_publish_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*arguments, "--store", str(tmp_path / "nowhere")]) == NO_STORE
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert "python -m compression run RECIPE" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "ghost"], "no variant 'ghost' of model 'fraud'"),
        (["show", "close", "--model", "loans"], "no model 'loans'"),
        (["list", "--model", "../fraud"], "no model '../fraud'"),
    ],
)
def test_what_the_store_lacks_is_named(
    store: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*arguments, "--store", store]) == NO_STORE
    assert message in capsys.readouterr().err


def test_an_unknown_protocol_is_no_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--store", "nonsense://models"]) == NO_STORE
    assert "cannot open store nonsense://models" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_corrupt_manifest_has_its_own_exit_code(
    own_store: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = own_store / "fraud" / "variants" / "close" / "manifest.json"
    path.write_text(path.read_text().replace('"probe_scores"', '"probes"'))
    arguments = ["show", "close"] if command == "show" else ["list"]
    assert main([*arguments, "--store", str(own_store)]) == CORRUPT
    error = capsys.readouterr().err
    assert "variants/close/manifest.json" in error
    assert "probes: Extra inputs are not permitted" in error


def test_a_bad_recipe_is_answered_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(_recipe(tmp_path, colour="red"), tmp_path) == BAD_RECIPE
    assert "workload: unknown key 'colour'" in capsys.readouterr().err
    assert _run(str(tmp_path / "missing.yaml"), tmp_path) == BAD_RECIPE
    assert "cannot read recipe" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]


def test_a_missing_data_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = _recipe(tmp_path, data=str(tmp_path / "cards.csv"))
    assert _run(recipe, tmp_path) == BAD_DATA
    assert "cards.csv: cannot be read as csv" in capsys.readouterr().err


def test_a_missing_column_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "cards.csv"
    with data.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "amount", "TX_FRAUD"],
                ["2024-01-01 10:00:00", "a", "x", "1.5", "0"],
            ]
        )
    assert _run(_recipe(tmp_path, data=str(data)), tmp_path) == BAD_DATA
    assert "no column 'TX_AMOUNT' (for TX_AMOUNT); the file has" in capsys.readouterr().err


def test_a_missing_original_says_how_to_train_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_settings: dict[str, Any]
) -> None:
    recipe = _recipe(tmp_path, **{**tiny_settings, "original": str(tmp_path / "nowhere")})
    assert _run(recipe, tmp_path) == BAD_DATA
    assert "Train one with: python -m compression original" in capsys.readouterr().err


def test_another_history_than_the_original_s_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_settings: dict[str, Any]
) -> None:
    recipe = _recipe(tmp_path, **{**tiny_settings, "history_length": 16})
    assert _run(recipe, tmp_path) == BAD_RECIPE
    error = capsys.readouterr().err
    assert "history_length is 16, but the original in" in error
    assert "was trained with 8" in error


def test_a_run_gets_its_arguments_and_prints_what_it_published(
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def run_recipe(
        recipe: Recipe, *arguments: Any, replace: bool, resume: bool
    ) -> tuple[Manifest, ...]:
        given.extend([recipe.model, *arguments, replace, resume])
        return (ModelStore(store).manifest("fraud", "close"),)

    monkeypatch.setattr("compression.pipeline.run_recipe", run_recipe)
    recipe = _recipe(tmp_path)
    arguments = ["--store", "s", "--work", "w", "--replace", "--no-resume"]
    assert main(["run", recipe, *arguments]) == 0
    assert main(["run", recipe]) == 0
    assert given == [
        "fraud", recipe, "s", Path("w"), True, False,
        "fraud", recipe, "out/store", Path("out/work"), False, True,
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("variants of fraud") == 2
    assert "close" in out


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["list"], "run", interrupt)
    assert main(["list"]) == INTERRUPTED == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.ENOSPC, "make room, then run the same command again"),
        (errno.EROFS, "see to it that it may be written, then"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, advice: str
) -> None:
    def fail(_: object) -> int:
        raise OSError(number, os.strerror(number), "out/store/fraud/model.json")

    monkeypatch.setattr(COMMANDS["list"], "run", fail)
    assert main(["list"]) == UNWRITABLE
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write out/store/fraud/model.json: ")
    assert "What was published before is as it was, and finished steps are kept" in error
    assert advice in error


def test_another_system_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(COMMANDS["list"], "run", fail)
    with pytest.raises(ConnectionRefusedError):
        main(["list"])


def test_ctrl_c_in_the_middle_of_a_training_ends_it_and_harms_no_store(
    tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    student = {"width": 8, "layers": 1, "heads": 2, "feed_forward": 16}
    endless = {"student": student, "epochs": 100_000, "pool_negatives": 500}
    document = {
        "version": 1,
        "model": "fraud",
        "workload": tiny_settings,
        "variants": {
            "original": {},
            "taught": {"from": "original", "steps": [{"distill": endless}]},
        },
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(document, sort_keys=False))
    store = str(build_store(tmp_path / "store"))
    before = {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "compression", "run", str(recipe), "--store", store]
    with subprocess.Popen(
        [*command, "--work", str(tmp_path / "work")], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        said = [next(line for line in running.stderr if "taught: distill" in line)]
        running.send_signal(signal.SIGINT)
        said += running.stderr
        assert running.wait(timeout=60) == INTERRUPTED, said
    assert "interrupted: what is finished is kept; run the same command again" in said[-1]
    assert "Traceback" not in "".join(said)
    after = {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}
    assert after == before


def test_messages_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "[/red] :fire: [bold].yaml"
    assert _run(str(path), tmp_path) == BAD_RECIPE
    assert capsys.readouterr().err == (
        f"error: cannot read recipe {path}: No such file or directory\n"
    )


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run"], ["show"], ["list", "--shop", "x"]])
def test_wrong_arguments_end_with_the_usual_code(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"usage: python -m compression {name}")
    assert " ".join(inspect.cleandoc(type(COMMANDS[name]).__doc__ or "nothing").split()) in said


def test_looking_into_a_store_does_not_wait_for_torch(store: str) -> None:
    code = (
        "import sys; from compression.__main__ import main; "
        f"code = main(['list', '--store', {store!r}]); "
        "sys.exit(code or ('torch' in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
