from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.launcher.ports import free_port
from tests.integration.server import GATEWAYS, Server, eventually
from tests.support.store import CHAMPION, request_body

REQUESTS = 60


def tool(name: str) -> str:
    """Path of a program of the Debian package `prometheus`; its absence fails the test."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install prometheus")
    return path


def test_promtool_finds_nothing_to_complain_about(server: Server) -> None:
    server.infer(request_body())
    server.infer(request_body(), "program")
    text = server.request("GET", "/metrics").body
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_one_scrape_sees_every_replica(server: Server) -> None:
    eventually(lambda: len(server.samples("in_flight")) == GATEWAYS, 60)
    server.infer(request_body(), "program")
    replicas = {labels["replica"].split("-")[0] for labels, _ in server.samples("batch_rows_count")}
    assert replicas == {"gateway", "program", "heavy", "elastic"}
    assert server.total("model_bytes", variant="program") > 0


@pytest.fixture
def prometheus(door: Server, tmp_path: Path) -> Iterator[str]:
    """A real Prometheus that scrapes the application twice a second."""
    scrape = {
        "job_name": "slimserve",
        "static_configs": [{"targets": [f"localhost:{door.port}"]}],
    }
    timing = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"global": timing, "scrape_configs": [scrape]}))
    port = free_port()
    process = subprocess.Popen(
        [
            tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


def query(url: str, expression: str) -> float | None:
    quoted = urllib.parse.quote(expression)
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?query={quoted}", timeout=5) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


def counted(url: str, expression: str, expected: float) -> bool:
    """Whether Prometheus has it at this value."""
    return query(url, expression) == expected


def test_prometheus_counts_the_requests_that_were_sent(door: Server, prometheus: str) -> None:
    door.route({CHAMPION: 0.5, "close": 0.5})
    before = door.counts("requests_total", "variant", "outcome")
    answers = [door.infer(request_body(customer_id=n)) for n in range(REQUESTS)]
    door.infer(b"{")
    for variant in (CHAMPION, "close"):
        sent = sum(answer.variant == variant for answer in answers)
        expected = before[variant, "ok"] + sent
        expression = f'sum(slimserve_requests_total{{variant="{variant}",outcome="ok"}})'
        eventually(partial(counted, prometheus, expression, expected), 20)
    invalid = 'sum(slimserve_requests_total{outcome="invalid"})'
    expected = sum(n for (_, outcome), n in before.items() if outcome == "invalid") + 1
    eventually(partial(counted, prometheus, invalid, expected), 20)
    assert query(prometheus, "count(slimserve_table_version)") == GATEWAYS
    slo = 'sum(slimserve_request_seconds_bucket{le="0.05"})'
    assert (query(prometheus, slo) or 0) > 0
