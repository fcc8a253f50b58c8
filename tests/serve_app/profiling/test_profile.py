"""The profile of a real variant, and the application it is taken from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_app.__main__ import main
from serve_app.profiling.profile import Options, profile
from serve_app.profiling.standalone import build, from_environment
from tests.serve_app.gateway.fakes import TOKEN
from tests.support.asgi import call
from tests.support.store import MODEL, request_body


async def test_the_application_answers_without_ray(
    store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMSERVE_STORE", store_uri)
    monkeypatch.setenv("SLIMSERVE_MODEL", MODEL)
    monkeypatch.setenv("SLIMSERVE_VARIANT", "close")
    app = from_environment()
    answer = await call(app, "POST", f"/v2/models/{MODEL}/infer", request_body(3))
    assert answer.status == 200
    assert answer.json()["model_version"] == "close"
    assert answer.json()["outputs"][0]["shape"] == [3]
    assert (await call(app, "GET", "/v2/health/ready")).status == 200
    metrics = (await call(app, "GET", "/metrics")).body.decode()
    assert 'slimserve_rows_total{model="fraud",replica="alone",variant="close"} 3.0' in metrics
    change = {"replaces": 1, "weights": {"close": 1.0}}
    path = f"/admin/v1/models/{MODEL}/routing"
    refused = await call(app, "PUT", path, change, {"Authorization": f"Bearer {TOKEN}"})
    assert refused.status == 403


def test_stages_add_up_to_the_request(store_uri: str) -> None:
    options = Options(store_uri, MODEL, "close", seconds=1.0, slice_seconds=0.25)
    one, many = profile(options)
    assert (one.callers, many.callers) == (1, 16)
    for found in (one, many):
        assert found.samples > 50
        assert found.requests > 100
        total = sum(found.stages_microseconds.values())
        assert total == pytest.approx(found.request_microseconds)
        assert {"decode", "batch", "gateway"} <= found.stages_microseconds.keys()
    assert "model" in one.stages_microseconds


def test_the_command_prints_and_writes(
    store_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "profile.json"
    code = main(["profile", "--store", store_uri, "--model", MODEL, "--variant", "close",
                 "--callers", "1", "--seconds", "0.5", "--json", str(path)])  # fmt: skip
    assert code == 0
    (found,) = json.loads(path.read_text())["profiles"]
    assert found["callers"] == 1
    said = capsys.readouterr().out
    assert "decode" in said
    assert "samples" in said


def test_an_unknown_variant_is_a_clear_error(
    store_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["profile", "--store", store_uri, "--model", MODEL, "--variant", "none"])
    assert code != 0
    assert "none" in capsys.readouterr().err


def test_a_gateway_on_its_own_needs_no_event_loop_to_be_built(store_uri: str) -> None:
    assert callable(build(store_uri, MODEL, "close"))
