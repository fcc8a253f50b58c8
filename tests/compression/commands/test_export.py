"""`export`: what it prints, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compression.__main__ import main
from tests.support.store import build_store

NO_STORE, NOT_EXPORTABLE, OVER_BUDGET = 7, 9, 10


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All tiny variants, and one that is a PyTorch program."""
    return build_store(tmp_path_factory.mktemp("export") / "store", torch_original=True)


def _export(store: str, variant: str, out: Path, *more: str) -> int:
    return main(["export", variant, "--store", store, "--out", str(out), *more])


def test_it_says_what_was_written(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export(store, "close", tmp_path / "app", "--samples", "5") == 0
    edge = json.loads((tmp_path / "app" / "edge.json").read_text())
    assert capsys.readouterr().out == (
        f"{tmp_path / 'app'}: fraud/close as model.onnx, {edge['file']['bytes']} bytes; up to "
        f"{edge['memory']['peak_bytes']:,} bytes of memory on top of the runtime's own; "
        "quality gate: passed\n"
    )
    samples = json.loads((tmp_path / "app" / "samples.json").read_text())
    assert len(samples["requests"]) == 5


def test_every_option_reaches_the_export(store: str, tmp_path: Path) -> None:
    out = tmp_path / "app"
    assert _export(store, "close", out) == 0
    assert len(json.loads((out / "samples.json").read_text())["requests"]) == 32
    assert _export(store, "poor", out, "--format", "ort") == NOT_EXPORTABLE
    more = ("--format", "ort", "--replace", "--model", "fraud")
    assert _export(store, "poor", out, *more) == NOT_EXPORTABLE
    assert _export(store, "poor", out, *more, "--allow-failed-gate") == 0
    edge = json.loads((out / "edge.json").read_text())
    assert (edge["variant"], edge["format"], edge["allowed_failed_gate"]) == ("poor", "ort", True)


@pytest.mark.parametrize(
    ("variant", "more", "code", "said"),
    [
        ("program", (), NOT_EXPORTABLE, "is a PyTorch program (model.pt2)"),
        ("poor", (), NOT_EXPORTABLE, "say --allow-failed-gate"),
        ("close", ("--samples", "0"), NOT_EXPORTABLE, "--samples is 0"),
        ("close", ("--max-bytes", "100"), OVER_BUDGET, "--max-bytes allows 100"),
        ("close", ("--max-memory-bytes", "9"), OVER_BUDGET, "--max-memory-bytes allows 9"),
        ("ghost", (), NO_STORE, "no variant 'ghost'"),
        ("close", ("--model", "loans"), NO_STORE, "no model 'loans'"),
    ],
)
def test_what_cannot_be_exported_ends_with_its_own_code(
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    variant: str,
    more: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert _export(store, variant, tmp_path / "app", *more) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [[], ["--out", "app", "--format", "tflite"]])
def test_wrong_arguments_end_with_the_usual_code(store: str, more: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "close", "--store", store, *more])
    assert ended.value.code == 2
