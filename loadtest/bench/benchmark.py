"""`python -m loadtest bench-serving`: rounds in which all take turns, A B C … A B C …

So a slow minute of the machine hits all of them. Each is alone on the machine while it is
measured, but for the client. What whole rounds found is saved after each of them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rich.progress import Progress

from loadtest.bench.contenders import Field
from loadtest.bench.division import ANYWHERE
from loadtest.bench.options import BenchOptions
from loadtest.bench.overload import overload
from loadtest.bench.results import (
    Case,
    Failure,
    Found,
    HalfRate,
    Overload,
    RatioRow,
    Results,
    held_cores,
    ratio_row,
    server_row,
)
from loadtest.bench.table import print_results
from loadtest.bench.targets import RATIO_TARGETS, Measured, judge_all
from loadtest.bench.visit import Turn, visit, visit_loop
from loadtest.console import ERRORS, OUT
from loadtest.environment import Environment, describe
from loadtest.ledger import write_whole
from loadtest.saturate import Saturation


def bench(options: BenchOptions) -> Path:
    """Measure all, print the tables, write `results.json`; gives its path.

    Raises:
        OptionError, StoreReadError: before anything is started.
        UnreachableError, GeneratorError: a contender does not start, or fails requests.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    field = Field(options)
    gathered = Gathered(options, describe(f"http://127.0.0.1:{options.port}"), field)
    path = options.out / "results.json"
    with _terminable(), Progress(console=ERRORS) as progress:
        overloaded = field.overloaded()
        total = options.rounds + options.overload.runs * len(overloaded)
        task = progress.add_task("serving", total=total)
        for round_ in range(options.rounds):
            for turn in _round(field, options, round_, progress):
                gathered.add(turn, round_)
            gathered.rounds += 1
            progress.advance(task)
            write_whole(path, gathered.results().model_dump_json(indent=2) + "\n")
        for run in range(options.overload.runs):
            for contender in overloaded:
                ERRORS.print(f"overload, run {run + 1}: {contender.name}", highlight=False)
                gathered.overload.append(overload(contender, options, run))
                progress.advance(task)
                write_whole(path, gathered.results().model_dump_json(indent=2) + "\n")
    print_results(gathered.results(), OUT)
    OUT.print(f"written to {path}")
    return path


def _round(field: Field, options: BenchOptions, round_: int, progress: Progress) -> Iterator[Turn]:
    """Every contender once; who begins changes from round to round."""
    servers = field.servers()
    first = round_ % max(1, len(servers))
    for contender in (*servers[first:], *servers[:first]):
        progress.console.print(f"round {round_ + 1}: {contender.name}", highlight=False)
        yield visit(contender, options, round_)
    loop = field.loop()
    if loop is not None:
        yield visit_loop(loop, options)


class Gathered:
    """What was measured so far."""

    def __init__(self, options: BenchOptions, machine: Environment, field: Field) -> None:
        self._options = options
        self._field = field
        self._machine = machine
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._found: dict[Case, list[Saturation | None]] = {}
        self._half_rate: list[HalfRate] = []
        self._failures: dict[tuple[str, str, int], Failure] = {}
        self._flags: dict[str, dict[str, str]] = {}
        self.overload: list[Overload] = []
        self.rounds = 0

    def add(self, turn: Turn, round_: int) -> None:
        """Keep one contender's turn of a round."""
        for case, entry in turn.saturations.items():
            if turn.flags:
                self._flags[case.name] = dict(turn.flags)
            self._found.setdefault(case, [None] * self._options.rounds)[round_] = entry
        if turn.half_rate is not None:
            self._half_rate.append(turn.half_rate)
        for failure in turn.failures:
            self._failures[failure.name, failure.body, failure.rows] = failure

    def results(self) -> Results:
        """The document as it stands."""
        options = self._options
        ratios = tuple(_ratios(self._found))
        measured = Measured(
            ratios=ratios,
            half_rate=self._half_rate,
            overload=self.overload,
            failures=tuple(self._failures.values()),
        )
        return Results(
            machine=self._machine,
            cores=held_cores(options.cores),
            apart=held_cores(self._field.apart_cores or ANYWHERE),
            measured_at=self._started_at,
            variant=self._options.variant,
            rounds=self.rounds,
            rounds_wanted=self._options.rounds,
            seconds=self._options.seconds,
            gateways=self._options.gateways,
            flags=self._flags,
            servers=tuple(server_row(case, entries) for case, entries in self._found.items()),
            ratios=ratios,
            half_rate=tuple(self._half_rate),
            overload=tuple(self.overload),
            failures=tuple(self._failures.values()),
            targets=judge_all(measured),
        )


def _ratios(found: Found) -> Iterator[RatioRow]:
    """Of every pair that a target is about, at every number of connections both have."""
    for target in {(one.of, one.to, one.figure, one.body): one for one in RATIO_TARGETS}.values():
        for of in [case for case in found if (case.name, case.body) == (target.of, target.body)]:
            for to in [case for case in found if case.name == target.to and _match(of, case)]:
                row = ratio_row(found, of, to, target.figure)
                if row is not None:
                    yield row


def _match(of: Case, to: Case) -> bool:
    """Whether two cases ask for the same; a loop has its own form and no connections."""
    if to.body == "arrays":
        return of.rows == to.rows
    return (of.body, of.rows, of.connections) == (to.body, to.rows, to.connections)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: with every server stopped. So does SIGINT in a script."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
