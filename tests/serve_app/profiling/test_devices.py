from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_app.__main__ import main
from serve_app.profiling.devices import CPU_WAY, GPU_WAY, REPLAY_WAY
from tests.support.gpu import HAS_GPU
from tests.support.store import MODEL, build_store


def test_the_command_prints_and_writes(
    store_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "devices.json"
    code = main(["devices", "--store", store_uri, "--model", MODEL, "--rounds", "2", "--variants",
                 "close", "slow", "--rows", "1", "9", "--json", str(path)])  # fmt: skip
    assert code == 0
    document = json.loads(path.read_text())
    assert document["options"]["rows"] == [1, 9]
    close, slow = document["variants"]
    ways = {CPU_WAY, GPU_WAY, REPLAY_WAY} if HAS_GPU else {CPU_WAY}
    assert set(close["ways"]) == ways
    assert close["differences"][CPU_WAY] < 1e-5
    assert len(close["timings"]) == 2 * len(ways)
    for timing in close["timings"] + slow["timings"]:
        least, most = timing["least_microseconds"], timing["most_microseconds"]
        assert 0 < least <= timing["microseconds"] <= most
        if timing["way"] == CPU_WAY:
            assert timing["of_cpu"] == 1
    said = capsys.readouterr().out
    assert "close" in said
    assert "CPUExecutionProvider" in said
    assert ("There is no GPU here" in said) is not HAS_GPU


def test_a_program_is_measured_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = build_store(tmp_path, torch_original=True)
    code = main(["devices", "--store", store, "--model", MODEL, "--rounds", "1",
                 "--variants", "program", "--rows", "1"])  # fmt: skip
    assert code == 0
    assert "torch" in capsys.readouterr().out


def test_a_variant_that_is_not_there_is_named(
    store_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["devices", "--store", store_uri, "--model", MODEL, "--variants", "absent"])
    assert code == 7
    assert "absent" in capsys.readouterr().err
