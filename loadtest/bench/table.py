"""The bench's results for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from loadtest.bench.contenders import APART
from loadtest.bench.results import FIGURES, HeldCores, Judged, Overload, RatioRow, Results
from loadtest.cores import format_cores
from loadtest.format import NOT_MEASURED, rate, seconds, size


def print_results(results: Results, console: Console) -> None:
    """Servers, ratios, half rate, overload, targets."""
    console.print(_servers(results))
    for row in results.ratios:
        console.print(_sentence(row, results.rounds), highlight=False, soft_wrap=True)
    for run in results.half_rate:
        console.print(
            f"{run.name} at {rate(run.rate_per_second)} req/s, half of its most: "
            f"p50 {seconds(run.p50_seconds)}, p99 {seconds(run.p99_seconds)}",
            highlight=False,
            soft_wrap=True,
        )
    for overload in results.overload:
        console.print(_overload(overload), highlight=False, soft_wrap=True)
    for failure in results.failures:
        console.print(
            f"no figure for {failure.name} ({failure.body}, {failure.rows} rows): "
            f"{failure.message}",
            style="red",
            highlight=False,
            soft_wrap=True,
        )
    console.print("targets (95 % interval; of overloads, all runs):", style="bold")
    for judged in results.targets:
        console.print(_target(judged), highlight=False, soft_wrap=True)


def _servers(results: Results) -> Table:
    lines = [f"{results.variant}: medians of {results.rounds} rounds"]
    if results.cores:
        lines.append(_held(results.cores))
    if results.apart:
        lines.append(f"{APART}: {_held(results.apart)}")
    table = Table(title="\n".join(lines))
    for heading in ("server", "body", "rows", "connections", "req/s", "rows/s", "p50", "p99"):
        table.add_column(heading, justify="left" if heading in ("server", "body") else "right")
    for row in results.servers:
        table.add_row(
            row.name,
            row.body,
            str(row.rows),
            str(row.connections),
            rate(row.requests_per_second),
            rate(row.rows_per_second),
            seconds(row.p50_seconds),
            seconds(row.p99_seconds),
        )
    return table


def _held(cores: HeldCores) -> str:
    shared = f", {_cores(cores.shared)} shared" if cores.shared else ""
    gateways = f", its gateways on {_cores(cores.gateways)}" if cores.gateways else ""
    return f"server on {_cores(cores.server)}{gateways}, load on {_cores(cores.load)}{shared}"


def _cores(cores: tuple[int, ...]) -> str:
    if not cores:
        return "any core"
    return f"core{'s' if len(cores) > 1 else ''} {format_cores(cores)}"


def _sentence(row: RatioRow, rounds: int) -> str:
    if row.low is None or row.high is None:
        interval = f"{row.lowest:.2f} to {row.highest:.2f} over {rounds} rounds"
    else:
        interval = f"95 %: {row.low:.2f} to {row.high:.2f}"
    what = f"{FIGURES[row.figure]}, {row.of.body}, {row.of.rows} rows a request"
    return (
        f"{row.of.name} to {row.to.name}, {what}, {row.of.connections} connections: "
        f"{row.ratio:.2f}× ({interval})"
    )


def _overload(run: Overload) -> str:
    memory = size(run.memory_bytes[-1]) if run.memory_bytes else NOT_MEASURED
    recovery = "not seen" if run.recovery_seconds is None else f"{run.recovery_seconds:.2f} s"
    before, after = run.capacities_per_second
    return (
        f"overload: {rate(run.offered_per_second)} req/s offered to {run.name}, which has "
        f"{rate(run.capacity_per_second)} ({rate(before)} before, {rate(after)} after); "
        f"good {rate(run.goodput_per_second)} "
        f"({run.goodput_share:.0%}), rejected {run.rejected_share:.0%}, failed "
        f"{run.failed_share:.1%}, not sent {run.dropped_share:.0%}; accepted p99 "
        f"{seconds(run.accepted_p99_seconds)}; memory {memory}; recovery {recovery}"
    )


def _target(judged: Judged) -> str:
    """A line: they are too long for the columns of a table on most terminals."""
    wanted = f"{'≥' if judged.at_least else '≤'} {_value(judged, judged.bound)}"
    figure = FIGURES.get(judged.figure, judged.figure)
    return f"{_verdict(judged)}: {judged.name}, {figure}: {_measured(judged)}, wanted {wanted}"


def _measured(judged: Judged) -> str:
    if judged.value is None:
        return f"no figure ({judged.note})"
    interval = ""
    if judged.low is not None and judged.high is not None:
        interval = f" ({_value(judged, judged.low)} to {_value(judged, judged.high)})"
    return _value(judged, judged.value) + interval + (f" ({judged.note})" if judged.note else "")


def _value(judged: Judged, value: float) -> str:
    if judged.unit == "%":
        return f"{value:.1%}"
    return f"{value:.2f}×" if judged.unit == "×" else seconds(value)


def _verdict(judged: Judged) -> str:
    if judged.reached:
        return "[green]reached[/]"
    by = "" if judged.missed_by is None else f" by {judged.missed_by:.0%}"
    return f"[red]missed{by}[/]"
