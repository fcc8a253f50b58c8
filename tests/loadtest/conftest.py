"""A made-up store, a stub server over real HTTP, and a comparison of simulated variants."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.campaign import Campaign
from loadtest.environment import describe
from loadtest.ledger import Ledger, LoadDocument, Settings
from loadtest.server import ServerIdentity
from loadtest.validity import Limits
from tests.loadtest import made_up_store
from tests.loadtest.simulated import (
    Clock,
    SilentProgress,
    SimulatedAccountant,
    SimulatedSource,
)

StubServer = Callable[..., str]
PRICES = Path(__file__).parents[2] / "deploy" / "prices.yaml"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with six variants; nothing may write to it."""
    return made_up_store.write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def stub_server() -> Iterator[StubServer]:
    """Starts stub servers: settings → base URL. They end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**settings: Any) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "stub_server:app", "--port", str(port),
                   "--log-level", "warning", "--no-access-log"]  # fmt: skip
        environment = {**os.environ, "STUB": json.dumps(settings)}
        started.append(subprocess.Popen(command, cwd=Path(__file__).parent, env=environment))
        url = f"http://127.0.0.1:{port}"
        _wait(url, started[-1])
        return url

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(timeout=10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20.0
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/v2/health/ready", timeout=1.0).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the stub server did not start: {process.poll()}")


def get_json(url: str) -> dict[str, Any]:
    """GET a JSON document."""
    with urllib.request.urlopen(url, timeout=5.0) as response:
        document: dict[str, Any] = json.loads(response.read())
    return document


def empty_document(store: Path, **changes: Any) -> LoadDocument:
    """A comparison of the made-up store that has not begun."""
    settings: dict[str, Any] = {
        "url": "http://127.0.0.1:9",
        "store": str(store),
        "model": made_up_store.MODEL,
        "variants": made_up_store.NAMES,
        "artifacts": dict.fromkeys(made_up_store.NAMES, "0"),
        "profile": "quick",
        "rounds": 2,
        "rows_per_request": 1,
        "limits": Limits(),
        "arrival": "poisson",
        "seed": 0,
        "budget_seconds": 150.0,
    }
    settings.update(changes)
    return LoadDocument(
        settings=Settings(**settings),
        server=ServerIdentity(name="stub", version="1", started_at=(1.0,)),
        environment=describe("http://192.0.2.1:80"),
        started_at="2026-11-23T12:00:00+00:00",
    )


def simulate(document: LoadDocument, folder: Path) -> tuple[LoadDocument, SimulatedSource]:
    """Run the campaign against simulated queues and save it below `folder`."""
    clock = Clock()
    source = SimulatedSource(made_up_store.MODEL_SECONDS, clock)
    ledger = Ledger(folder)
    campaign = Campaign(
        document, ledger, source, SimulatedAccountant(source), SilentProgress(), clock
    )
    return campaign.run(), source


@pytest.fixture(scope="session")
def comparison(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the `load.json` of a finished comparison; nothing may write to it."""
    folder = tmp_path_factory.mktemp("comparison")
    simulate(empty_document(store), folder)
    return folder
