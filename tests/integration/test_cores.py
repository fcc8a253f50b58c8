"""Gateways on a core of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.integration.server import GATEWAYS, running
from tests.support.store import CHAMPION, build_store, request_body

CORES = sorted(os.sched_getaffinity(0))


def check_held(ids: Iterable[int], cores: list[int]) -> None:
    """Processes or threads keep to these cores."""
    for number in ids:
        with suppress(ProcessLookupError):  # some of Ray's come and go
            assert os.sched_getaffinity(number) == set(cores)


@pytest.mark.skipif(len(CORES) == 1, reason="one core cannot be divided")
@pytest.mark.timeout(180)
def test_gateways_have_a_core_and_the_rest_has_the_others(tmp_path: Path) -> None:
    store = build_store(tmp_path / "store", torch_original=True)
    names = (CHAMPION, "heavy", "heavy-apart")
    with running(tmp_path, store, names, cores=[CORES[-1]]) as server:
        gateways = server.replicas("Gateway")
        assert len(gateways) == GATEWAYS
        for gateway in gateways:
            check_held((thread.id for thread in gateway.threads()), CORES[-1:])
        family = psutil.Process(server.pid).children(recursive=True)
        others = {process.pid for process in family} - {process.pid for process in gateways}
        assert others.issuperset(process.pid for process in server.replicas("heavy-apart"))
        check_held((server.pid, *others), CORES[:-1])
        for door in (server, server.direct):
            for variant in ("heavy", "heavy-apart"):
                assert door.infer(request_body(3), variant).status == 200
