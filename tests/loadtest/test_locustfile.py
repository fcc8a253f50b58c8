"""Locust itself, headless, in processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtest.conftest import StubServer, get_json

LOCUSTFILE = Path(__file__).parents[2] / "loadtest" / "locustfile.py"


def _locust(url: str, store: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", url, "--headless",
               "-t", "4s", "--store", str(store), "--variant", "small", *options]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_closed_loop_keeps_connections_alive(
    stub_server: StubServer, store: Path, tmp_path: Path
) -> None:
    url = stub_server(workers=8, service_seconds={"small": 0.01})
    path = tmp_path / "histograms.json"
    done = _locust(url, store, "-u", "3", "-r", "10", "--histograms", str(path))
    assert done.returncode == 0, done.stderr
    document = json.loads(path.read_text())
    stats = get_json(f"{url}/stats")
    # Locust ends its users where they are: each may have one request on its way.
    assert stats["requests"] - 3 <= document["counts"]["ok"] <= stats["requests"]
    assert stats["requests"] > 20
    assert stats["connections"] <= 3 + 2
    p50_seconds = document["quantiles"]["response"]["p50_seconds"]
    assert p50_seconds > 0.008  # the stub sleeps 10 ms, give or take its clock's tick
    # 3 users wait for their answers one after the other, for 4 s: more does not fit.
    assert p50_seconds * document["counts"]["ok"] / 2 <= 3 * 4.5


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]])
def test_open_loop_merges_its_workers(
    stub_server: StubServer, store: Path, tmp_path: Path, processes: list[str]
) -> None:
    url = stub_server(workers=8)
    path = tmp_path / "histograms.json"
    done = _locust(url, store, "--open-loop-rate", "400", "--slo-seconds", "10", "--histograms",
                   str(path), *processes)  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(path.read_text())
    assert 459 <= document["counts"]["ok"] < 1700
    assert document["counts"]["ok"] == get_json(f"{url}/stats")["requests"]
    quantiles = document["quantiles"]
    assert quantiles["response"]["count"] == document["counts"]["ok"]
    assert quantiles["response"]["p50_seconds"] >= quantiles["service"]["p50_seconds"]
    assert "/v2/models/fraud/versions/small/infer" in done.stdout + done.stderr


def test_a_wrong_store_does_not_start(store: Path) -> None:
    done = _locust("http://127.0.0.1:9", store / "nowhere")
    assert done.returncode != 0
    assert "check --store" in done.stderr


WEB_FORM = """
from locust.argument_parser import LocustArgumentParser
from loadtest.locust_options import LocustOptions, add_options

parser = LocustArgumentParser()
add_options(parser)
assert set(LocustOptions.model_fields) <= set(parser.args_included_in_web_ui)
assert LocustOptions.of(parser.parse_args([])).open_loop_rate == 0.0
"""


def test_the_options_are_in_the_web_form() -> None:
    """In a process of its own: importing locust patches the standard library."""
    done = subprocess.run(
        [sys.executable, "-c", WEB_FORM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
