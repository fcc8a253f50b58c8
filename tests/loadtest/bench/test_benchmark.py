"""The bench over real baselines: small servers without Ray, one short round."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from loadtest.bench.contenders import APART, DEPLOYMENT, INLINE, PROXIED, TUTORIAL, Field
from loadtest.bench.division import Division
from loadtest.bench.options import BenchOptions
from loadtest.bench.results import HeldCores, Results
from loadtest.bench.visit import client, started, visit, visit_loop, warm_up
from loadtest.cli import main
from loadtest.errors import GeneratorError, OptionError
from loadtest.payloads import binary_body
from loadtest.processes import listeners
from loadtest.saturate import Saturation
from loadtest.server import Server
from loadtest.serving import serving
from loadtest.store import Store
from serve_app.config import parse_config
from tests.support.store import MODEL, build_store

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real ONNX files, tiny."""
    return Path(build_store(tmp_path_factory.mktemp("tiny") / "store"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _options(store: Path, out: Path, **changes: Any) -> BenchOptions:
    out.mkdir(exist_ok=True)
    settings = {"store": store, "model": MODEL, "variant": "close", "out": out}
    return BenchOptions(**{**settings, "port": _free_port(), **changes})


def test_baselines_are_measured_in_turn_and_judged(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = main([
        "bench-serving", "--store", str(tiny_store), "--model", MODEL, "--variant", "close",
        "--out", str(out), "--port", str(_free_port()), "--quick", "--rounds", "1",
        "--connections", "1", "4", "--binary-connections", "2", "16", "--only", "bare-asgi",
        "fastapi-by-hand", "ort-loop", "--overload-runs", "0",
    ])  # fmt: skip
    assert code == 0
    results = json.loads((out / "results.json").read_text())
    assert (results["rounds"], results["rounds_wanted"]) == (1, 1)
    measured = {(row["name"], row["body"], row["rows"], row["connections"]): row
                for row in results["servers"]}  # fmt: skip
    assert set(measured) == {
        ("bare-asgi", "json", 1, 1), ("bare-asgi", "json", 1, 4),
        ("bare-asgi", "binary", 32, 2), ("bare-asgi", "binary", 32, 16),
        ("fastapi-by-hand", "json", 1, 1), ("fastapi-by-hand", "json", 1, 4),
        ("ort-loop", "arrays", 32, 1),
    }  # fmt: skip
    assert all(row["requests_per_second"] > 0 for row in measured.values())
    binary = measured["bare-asgi", "binary", 32, 16]
    assert binary["rows_per_second"] == pytest.approx(32 * binary["requests_per_second"])
    expected = "wrk" if shutil.which("wrk") else "own"
    assert binary["client"] == expected
    assert not any(target["reached"] for target in results["targets"])
    said = capsys.readouterr().out
    assert "no figure (not measured)" in said
    assert results["cores"] is None
    assert "load on" not in said


def test_server_and_load_on_cores_of_their_own(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    usable = os.sched_getaffinity(0)
    first, last = min(usable), max(usable)
    code = main([
        "bench-serving", "--store", str(tiny_store), "--model", MODEL, "--variant", "close",
        "--out", str(out), "--port", str(_free_port()), "--quick", "--rounds", "1",
        "--connections", "1", "--binary-connections", "1", "--only", "bare-asgi", "ort-loop",
        "--overload-runs", "0", "--server-cores", str(first), "--load-cores", str(last),
    ])  # fmt: skip
    assert code == 0
    results = Results.model_validate_json((out / "results.json").read_bytes())
    shared = (first,) if first == last else ()
    assert results.cores == HeldCores(server=(first,), load=(last,), shared=shared)
    assert f"server on core {first}, load on core {last}" in capsys.readouterr().out
    # The machine is described as it is.
    assert results.machine.cores == os.cpu_count()


def test_a_server_stays_on_its_cores(tiny_store: Path, tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    options = _options(tiny_store, tmp_path, cores=Division(server=(core,)))
    with started(Field(options).server("bare-asgi"), options):
        (server,) = listeners(options.port)
        assert os.sched_getaffinity(server.pid) == {core}


def test_the_loops_processes_stay_on_the_servers_cores(tiny_store: Path, tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    options = _options(
        tiny_store, tmp_path, cores=Division(server=(core,)), seconds=1.0, gateways=2
    )
    loop = Field(options).loop()
    assert loop is not None
    seen: dict[int, set[int]] = {}
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(visit_loop, loop, options)
        while not turn.done():
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError):
                    if "spawn_main" in " ".join(child.cmdline()):
                        seen[child.pid] = os.sched_getaffinity(child.pid)
            time.sleep(0.02)
        assert turn.result().saturations
    assert list(seen.values()) == [{core}] * 2


def test_gateways_are_told_of_their_cores(tiny_store: Path, tmp_path: Path) -> None:
    held = Field(_options(tiny_store, tmp_path, cores=Division(gateways=(0,))))
    held.server("slimserve-inline")
    written = yaml.safe_load((tmp_path / "slimserve-inline.yaml").read_text())
    [application] = written["applications"]
    assert parse_config(application["args"]).gateway.cores == (0,)


def _on_cores(monkeypatch: pytest.MonkeyPatch, *cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(cores))


def test_apart_gateways_and_load_have_cores_of_their_own(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_cores(monkeypatch, 0, 1, 2, 3)
    field = Field(_options(tiny_store, tmp_path))
    contenders = {one.name: one for one in field.servers()}
    assert [one.name for one in field.overloaded()] == [INLINE, APART]
    written = yaml.safe_load((tmp_path / f"{APART}.yaml").read_text())
    [application] = written["applications"]
    assert parse_config(application["args"]).gateway.cores == (0, 1)
    for name, cores, first in ((APART, (2, 3), True), (INLINE, (), False)):
        setup = client(contenders[name], contenders[name].json, {"x-more": "1"})
        assert (setup.cores, setup.precedence, setup.headers["x-more"]) == (cores, first, "1")


@pytest.mark.parametrize(
    ("cores", "changes"),
    [((0,), {}), ((0, 1), {"cores": Division(load=(1,))}), ((0, 1), {"only": (INLINE,)})],
)
def test_nobody_is_apart_on_one_core_or_where_cores_are_divided_or_others_are_wanted(
    tiny_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: tuple[int, ...],
    changes: dict[str, Any],
) -> None:
    _on_cores(monkeypatch, *cores)
    field = Field(_options(tiny_store, tmp_path, **changes))
    assert APART not in [one.name for one in (*field.servers(), *field.overloaded())]
    if "only" not in changes:
        with pytest.raises(OptionError, match=f"--only {APART}: expected two cores or more"):
            Field(_options(tiny_store, tmp_path, **changes, only=(APART,)))


def test_ray_is_told_of_the_servers_cores_alone(tiny_store: Path, tmp_path: Path) -> None:
    held = Field(_options(tiny_store, tmp_path, cores=Division(server=(0, 3))))
    free = Field(_options(tiny_store, tmp_path))
    for name in (INLINE, DEPLOYMENT, PROXIED, TUTORIAL):
        environment = held.server(name).environment
        assert json.loads(environment["RAY_OVERRIDE_RESOURCES"]) == {"CPU": 2}
        assert "RAY_OVERRIDE_RESOURCES" not in free.server(name).environment


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--server-cores", ""], "--server-cores '': expected a list of cores"),
        (["--load-cores", "0;1"], "--load-cores '0;1': expected a list of cores"),
        (["--load-cores", "999999"], "--load-cores '999999': core 999999 is not there"),
    ],
)
def test_cores_that_are_none_are_refused_before_anything_starts(
    tiny_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    command = ["bench-serving", "--store", str(tiny_store), "--out", str(tmp_path / "out")]
    assert main([*command, *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_what_shed_at_many_connections_keeps_its_figure_of_few(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(url: str, body: Path, connections: Sequence[int], *_: Any, **__: Any) -> Any:
        return [
            Saturation(
                client="own", connections=number, duration_seconds=1.0, requests_per_second=9.0,
                p50_seconds=0.1, p99_seconds=0.2, ok=9, errors=0 if number < 64 else 9,
            )
            for number in connections
        ]  # fmt: skip

    monkeypatch.setattr("loadtest.bench.visit.measure", measure)
    options = _options(tiny_store, tmp_path, connections=(1,), half_rate_seconds=0.5)
    turn = visit(Field(options).server("bare-asgi"), options, 0)
    assert [(case.body, case.connections) for case in turn.saturations] == [
        ("json", 1), ("binary", 16),
    ]  # fmt: skip
    (failure,) = turn.failures
    assert "at 64 connections" in failure.message


def test_the_binary_request_says_what_the_protocol_wants(tiny_store: Path) -> None:
    store = Store(str(tiny_store), MODEL)
    samples = store.samples()
    content, headers = binary_body(store.model, samples, 2, 3)
    length = int(headers["Inference-Header-Content-Length"])
    head, blobs = json.loads(content[:length]), content[length:]
    assert head["parameters"]["binary_data_output"] is True
    for tensor in head["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        array = np.frombuffer(blobs[:size], dtype="<f4").reshape(tensor["shape"])
        assert np.array_equal(array, samples.inputs[tensor["name"]][2:5])
        blobs = blobs[size:]
    assert blobs == b""


def test_bare_asgi_answers_json_and_binary_alike(tiny_store: Path, tmp_path: Path) -> None:
    contender = Field(_options(tiny_store, tmp_path / "out")).server("bare-asgi")
    assert contender.binary is not None
    scores = []
    with serving(contender.command, contender.ready_url, tmp_path / "log", contender.environment):
        server = Server(contender.url.removesuffix("/infer"))
        for request in (contender.json, contender.binary):
            status, answer = server.call(
                "POST", "/infer", request.body.read_bytes(), request.headers
            )
            assert status == 200
            scores.append(json.loads(answer)["outputs"][0]["data"])
    assert len(scores[1]) == 32
    assert scores[1][0] == pytest.approx(scores[0][0], abs=1e-6)


def test_a_server_that_refuses_a_body_is_quoted(tiny_store: Path, tmp_path: Path) -> None:
    contender = Field(_options(tiny_store, tmp_path / "out")).server("fastapi-by-hand")
    contender.json.body.write_bytes(b"{}")
    with (
        serving(contender.command, contender.ready_url, tmp_path / "log", contender.environment),
        pytest.raises(GeneratorError, match=r"answers 422 to json requests of 1 rows: .*inputs"),
    ):
        warm_up(contender, contender.json)


def test_slimserve_gets_the_variant_in_each_placement(tiny_store: Path, tmp_path: Path) -> None:
    options = _options(tiny_store, tmp_path, gateways=2)
    field = Field(options)
    for name, placement in ((INLINE, "inline"), (DEPLOYMENT, "deployment")):
        contender = field.server(name)
        assert contender.placement == placement
        config = yaml.safe_load((tmp_path / f"{name}.yaml").read_text())
        (application,) = config["applications"]
        assert application["args"]["gateway"]["num_replicas"] == 2
        assert application["args"]["variants"][0] == {"name": "close", "placement": placement}
        assert application["args"]["variants"][1] == {"name": "original"}
        assert contender.url.startswith(f"http://127.0.0.1:{options.data_port}/")
    assert field.server(PROXIED).url.startswith(f"http://127.0.0.1:{options.port}/")
    assert field.loop() is not None


def test_nonsense_is_refused_before_anything_starts(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--variant: 'none' is not in the store, it has"):
        Field(_options(tiny_store, tmp_path, variant="none"))
    with pytest.raises(OptionError, match=r"--only: triton unknown, expected some of slimserve"):
        Field(_options(tiny_store, tmp_path, only=("triton",)))


def test_a_baseline_that_does_not_start_is_an_error_with_its_last_words(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    (store / MODEL / "variants" / "close" / "model.onnx").write_bytes(b"no model")
    code = main([
        "bench-serving", "--store", str(store), "--model", MODEL, "--variant", "close", "--out",
        str(tmp_path / "out"), "--port", str(_free_port()), "--only", "bare-asgi",
    ])  # fmt: skip
    assert code == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "the server ended with exit code" in said
    assert "onnxruntime" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process_and_a_free_port(
    tiny_store: Path, tmp_path: Path, number: signal.Signals
) -> None:
    port = _free_port()
    command = [
        sys.executable, "-m", "loadtest", "bench-serving", "--store", str(tiny_store), "--model",
        MODEL, "--variant", "close", "--out", str(tmp_path / "out"), "--port", str(port), "--only",
        "bare-asgi", "--duration", "30",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    try:
        _wait_for(port, process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    assert not left
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1.0)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no server came up: {process.poll()}")


def test_a_taken_port_is_not_measured(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with (
            pytest.raises(Exception, match="somebody listens") as raised,
            serving("true", url, tmp_path / "log"),
        ):
            pytest.fail("another server would have been measured")
    assert type(raised.value).__name__ == "UnreachableError"
