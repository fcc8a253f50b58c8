"""Who has which cores."""

from __future__ import annotations

import os

import pytest

from loadtest.bench.division import ANYWHERE, Division, halves


@pytest.mark.parametrize(
    ("usable", "gateways", "load"),
    [({0, 1}, (0,), (1,)), ({3, 1, 2}, (1,), (2, 3)), ({4, 5, 6, 7}, (4, 5), (6, 7))],
)
def test_the_cores_that_may_be_used_are_halved(
    monkeypatch: pytest.MonkeyPatch,
    usable: set[int],
    gateways: tuple[int, ...],
    load: tuple[int, ...],
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    assert halves() == Division(gateways=gateways, load=load)


def test_one_core_has_no_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert halves() is None


def test_without_taskset_nothing_is_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert halves() is None


@pytest.mark.parametrize(
    ("cores", "apart"),
    [
        (ANYWHERE, False),
        (Division(gateways=(0,), load=(1,)), True),
        (Division(server=(0, 1), load=(2, 3)), True),
        (Division(server=(0, 1), gateways=(0,), load=(1,)), True),
        (Division(server=(0, 1), load=(1, 2)), False),
        (Division(load=(1,)), False),
        (Division(gateways=(0,)), False),
    ],
)
def test_apart_is_who_has_no_core_that_sends(cores: Division, *, apart: bool) -> None:
    assert cores.apart is apart
