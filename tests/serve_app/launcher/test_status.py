from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from serve_app.launcher.ports import free_port
from serve_app.launcher.status import Gateways, Status, Traffic, describe_traffic, stream

FINE = Status(
    ready=True,
    replicas={"Gateway": {"RUNNING": 2}, "Controller": {"RUNNING": 1}},
    variants=("original", "int8"),
    table={"version": 3, "weights": {"original": 0.9, "int8": 0.1}},
)


def test_what_stays_as_it_is_is_not_said() -> None:
    assert FINE.lines(replace(FINE)) == []


def test_each_change_is_a_line() -> None:
    assert replace(FINE, ready=False).lines(FINE) == ["NOT READY: the champion does not answer"]
    assert FINE.lines(replace(FINE, ready=False)) == ["ready"]
    dying = replace(FINE, replicas={"Gateway": {"RUNNING": 1, "STARTING": 1}, "slow": {}})
    assert dying.lines(FINE) == ["Gateway: 1 running, 1 starting; slow: no replica"]
    assert replace(FINE, variants=("original",)).lines(FINE) == ["serves original"]
    shadow = {"variant": "pruned", "sample_rate": 0.25}
    table = {"version": 4, "weights": {"original": 1.0}, "shadow": shadow}
    [line] = replace(FINE, table=table).lines(FINE)
    assert line == "routing table 4: original 1, shadow pruned 0.25"


def test_a_gateway_that_does_not_answer_is_not_a_change_of_table_or_variants() -> None:
    away = Gateways(f"http://127.0.0.1:{free_port()}", "fraud").status(FINE.replicas)
    assert away == Status(ready=False, replicas=FINE.replicas)
    assert away.lines(FINE) == ["NOT READY: the champion does not answer"]


def test_traffic_is_counted_by_variant_and_outcome() -> None:
    assert describe_traffic(Counter(), 60.0) == ""
    new = Counter({("original", "ok"): 1000, ("int8", "ok"): 190, ("int8", "shed"): 10})
    assert describe_traffic(new, 60.0) == (
        "1,200 requests, 20.0/s: original 1,000, int8 200 (10 shed)"
    )


class Scripted(Gateways):
    """Answers one status after another."""

    def __init__(self, *statuses: Status) -> None:
        self._statuses = list(statuses)
        self._requests = 0

    def status(self, replicas: Mapping[str, Mapping[str, int]]) -> Status:
        return replace(self._statuses.pop(0), replicas=replicas)

    def traffic(self) -> Traffic:
        self._requests += 60
        return Counter({("original", "ok"): self._requests})


def test_the_stream_says_each_change_once_and_ends() -> None:
    output = io.StringIO()
    down = replace(FINE, ready=False)
    answers = [False, False, False, True]
    stream(
        Console(file=output), Scripted(FINE, down, down, FINE), dict, lambda _: answers.pop(0)
    )  # fmt: skip
    said = [line.split("  ", 1)[1] for line in output.getvalue().splitlines()]
    assert said == ["NOT READY: the champion does not answer", "ready"]


def replicas_asked(*statuses: Status, found: list[dict[str, dict[str, int]]]) -> list[str]:
    """What is said of them by a stream that finds `found` when it asks for the replicas."""
    output, looks = io.StringIO(), len(statuses) - 1

    def stopped(_: float) -> bool:
        nonlocal looks
        looks -= 1
        return looks < 0

    stream(Console(file=output), Scripted(*statuses), lambda: found.pop(0), stopped)
    return [line.split("  ", 1)[1] for line in output.getvalue().splitlines()]


def test_replicas_that_all_run_are_not_asked_for_at_each_look() -> None:
    assert replicas_asked(FINE, FINE, FINE, found=[{"Gateway": {"RUNNING": 1}}]) == []


def test_replicas_are_asked_for_when_something_else_changed_and_until_they_run_again() -> None:
    up, starting = {"Gateway": {"RUNNING": 1}}, {"Gateway": {"STARTING": 1}}
    found = [up, starting, up]
    said = replicas_asked(FINE, replace(FINE, ready=False), FINE, FINE, found=found)
    assert said == [
        "NOT READY: the champion does not answer", "Gateway: 1 starting", "ready",
        "Gateway: 1 running",
    ]  # fmt: skip
    assert not found


def test_replicas_are_asked_for_until_there_are_some() -> None:
    up = {"Gateway": {"RUNNING": 1}}
    found: list[dict[str, dict[str, int]]] = [up, {}, up]
    said = replicas_asked(FINE, replace(FINE, ready=False), replace(FINE, ready=False), found=found)
    assert said == [
        "NOT READY: the champion does not answer", "Ray Serve tells of no deployment",
        "Gateway: 1 running",
    ]  # fmt: skip


def test_replicas_are_asked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.launcher.status.REPLICAS_SECONDS", 0.0)
    found = [{"Gateway": {"RUNNING": 2}}, {"Gateway": {"RUNNING": 1}}]
    assert replicas_asked(FINE, FINE, found=found) == ["Gateway: 1 running"]
