"""What the table says of the cores."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.bench.division import Division
from loadtest.bench.results import Results, held_cores
from loadtest.bench.table import print_results
from loadtest.environment import describe


@pytest.mark.parametrize(
    ("server", "gateways", "load", "line"),
    [
        ((0, 1), (), tuple(range(2, 16)), "server on cores 0-1, load on cores 2-15"),
        ((0, 1), (), (1, 2), "server on cores 0-1, load on cores 1-2, core 1 shared"),
        ((0, 1), (), (), "server on cores 0-1, load on any core, cores 0-1 shared"),
        ((), (), (3,), "server on any core, load on core 3, core 3 shared"),
        (
            (),
            (0,),
            (1,),
            "server on any core, its gateways on core 0, load on core 1, core 1 shared",
        ),
        ((), (), (), None),
    ],
)
def test_the_cores_stand_under_the_title(
    server: tuple[int, ...], gateways: tuple[int, ...], load: tuple[int, ...], line: str | None
) -> None:
    results = Results(
        machine=describe("http://192.0.2.1:80"),
        cores=held_cores(Division(server=server, gateways=gateways, load=load)),
        apart=None,
        measured_at="2026-11-27T12:00:00+00:00",
        variant="student",
        rounds=5,
        rounds_wanted=5,
        seconds=4.0,
        gateways=1,
        flags={},
        servers=(),
        ratios=(),
        half_rate=(),
        overload=(),
        failures=(),
        targets=(),
    )
    said = io.StringIO()
    print_results(results, Console(file=said, width=100))
    words = " ".join(said.getvalue().split())
    assert words.startswith(f"student: medians of 5 rounds {line or ''}".strip())
    assert line or "server on" not in words
