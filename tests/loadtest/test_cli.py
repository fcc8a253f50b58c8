"""The command line, end to end, against a stub server."""

import json
from pathlib import Path

import pytest

from loadtest.cli import main
from loadtest.openloop import RunResult
from tests.loadtest.conftest import PRICES, StubServer
from tests.loadtest.made_up_store import SCORES

SERVICE = {"original": 0.004, "distilled": 0.0002}


def test_a_valid_run_is_written(stub_server: StubServer, store: Path, tmp_path: Path) -> None:
    url = stub_server(workers=8, service_seconds=SERVICE)
    path = tmp_path / "run.json"
    code = main(["run", "--url", url, "--store", str(store), "--variant", "distilled", "--rate",
                 "400", "--duration", "1.5", "--json", str(path),
                 "--slo-seconds", "5"])  # fmt: skip
    result = RunResult.model_validate_json(path.read_bytes())
    assert result.valid, result.reasons
    assert code == 0
    assert result.measurement.ok == 600
    assert result.p99_sufficient
    assert not result.p999_sufficient


def test_an_invalid_run_exits_with_its_reason(
    stub_server: StubServer, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = stub_server(workers=1, service_seconds={"original": 0.05}, queue=4)
    code = main(["run", "--url", url, "--store", str(store), "--variant", "original", "--rate",
                 "100", "--duration", "0.5"])  # fmt: skip
    assert code == 6
    said = " ".join(capsys.readouterr().err.split())
    assert "this run is not valid" in said
    assert "were shed (429)" in said
    assert "too few for a p99" in said


def test_compare_measures_and_reports(
    stub_server: StubServer, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = stub_server(workers=2, service_seconds=SERVICE, scores=dict.fromkeys(SERVICE, SCORES))
    out = tmp_path / "out"
    command = ["compare", "--url", url, "--store", str(store), "--out", str(out), "--variants",
               "distilled", "--budget-seconds", "6", "--rounds", "1",
               "--prices", str(PRICES)]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "the original serves" in " ".join(said.split())
    assert "report.html" in said.replace("\n", "")
    content = json.loads((out / "results.json").read_text())
    assert [variant["name"] for variant in content["variants"]] == ["original", "distilled"]
    assert all(variant["cpu_seconds_per_1000"] > 0 for variant in content["variants"])
    assert {"load.json", "histograms.json", "report.html", "report.md"} <= {
        path.name for path in out.iterdir()
    }
    # The same command against the same server run has nothing left to measure.
    assert main(command) == 0
    assert "2 of 2 steps are done" in " ".join(capsys.readouterr().out.split())
    assert main(["report", "--out", str(out), "--prices", str(PRICES)]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--store", "/nowhere"], 3, "check --store"),
        (["--prices", "/nowhere"], 2, "--prices"),
        (["--price", "mainframe"], 2, "not in the price file"),
        (["--price", "orignal=one-gpu-16-core"], 2, "no variant of that name"),
        (["--slo-seconds", "-1"], 2, "greater than 0"),
        ([], 4, "start the server first"),
    ],
)
def test_what_went_wrong_and_what_next(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    command = ["compare", "--url", "http://127.0.0.1:9", "--store", str(store), "--out",
               str(tmp_path), "--prices", str(PRICES), *arguments]  # fmt: skip
    assert main(command) == code
    assert words in " ".join(capsys.readouterr().err.split())
