"""The document results.json: who answered how much, ratios with intervals, targets judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtest.bench.division import ANYWHERE, Division
from loadtest.documents import Document
from loadtest.environment import Environment
from loadtest.saturate import Saturation
from loadtest.statistics import Ratio, median, paired_ratio


class Case(Document):
    """What is measured of whom: a body form, rows per request, a number of connections."""

    name: str
    placement: str
    body: str
    rows: int
    connections: int


class ServerRow(Case):
    """A case over all rounds: medians, and the rounds themselves in their order."""

    requests_per_second: float
    rows_per_second: float
    requests_per_second_by_round: tuple[float, ...]
    p50_seconds: float | None
    p50_seconds_by_round: tuple[float | None, ...]
    p99_seconds: float | None
    client: str


class RatioRow(Document):
    """A figure of one case to that of another: ratio of medians over the rounds of both.

    `low` and `high` are its 95 % interval by a bootstrap over rounds, None of fewer than five;
    `lowest` and `highest` are those of single rounds.
    """

    of: Case
    to: Case
    figure: str
    ratio: float
    low: float | None
    high: float | None
    lowest: float
    highest: float


class HalfRate(Document):
    """One open-loop run at half of the highest rate seen; `faults` are the generator's."""

    name: str
    round: int
    rate_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    failed_share: float
    faults: tuple[str, ...]


class Overload(Document):
    """One run beyond capacity; see `loadtest.bench.overload`."""

    name: str
    capacity_per_second: float
    """The mean of `capacities_per_second`, before and after."""
    capacities_per_second: tuple[float, float]
    offered_per_second: float
    goodput_per_second: float
    goodput_share: float
    """Of the capacity; good answers came within the deadline."""
    deadline_seconds: float
    accepted_p50_seconds: float | None
    accepted_p99_seconds: float | None
    """Of everything answered 200, from the moment it was meant to be sent."""
    rejected_share: float
    failed_share: float
    dropped_share: float
    """Of all that was offered; dropped ones found all of the client's connections waiting."""
    statuses: dict[str, int]
    memory_bytes: tuple[int, ...]
    """Resident, of replicas and proxy, once a second of the overload."""
    memory_growth: float | None
    """Median of the last fifth to that of the second fifth, less one; None: too few samples."""
    recovery_seconds: float | None
    """From the overload's end; None: not within the time that was watched."""
    generator_cpu_share: float
    lag_p99_seconds: float | None


class Failure(Document):
    """A case that gave an error and no figure."""

    name: str
    body: str
    rows: int
    message: str


class Judged(Document):
    """A target, and what was measured; `value` None: nothing was."""

    name: str
    figure: str
    unit: str
    at_least: bool
    """Whether the bound is the least or the most that is wanted."""
    bound: float
    value: float | None
    low: float | None = None
    high: float | None = None
    reached: bool
    missed_by: float | None
    """Share of the bound by which it was missed, None where it was reached or not measured."""
    note: str = ""


class HeldCores(Division):
    """The cores that processes were held to."""

    shared: tuple[int, ...]
    """Of the cores listed, those where both could run: there a figure is not the server's alone."""


class Results(Document):
    """Everything the bench has to say."""

    schema_version: int = 5
    machine: Environment
    cores: HeldCores | None
    """None: nothing was held to any, server and load shared the machine's."""
    apart: HeldCores | None
    """Of the contender that is apart from the load; None: there was none."""
    measured_at: str
    variant: str
    rounds: int
    """Whole rounds that are in here."""
    rounds_wanted: int
    seconds: float
    gateways: int
    flags: dict[str, dict[str, str]]
    """By server: Ray's settings in the environment of its processes."""
    servers: tuple[ServerRow, ...]
    ratios: tuple[RatioRow, ...]
    half_rate: tuple[HalfRate, ...]
    overload: tuple[Overload, ...]
    failures: tuple[Failure, ...]
    targets: tuple[Judged, ...]


def held_cores(cores: Division) -> HeldCores | None:
    """What was held where; None where nothing was."""
    if cores == ANYWHERE:
        return None
    server, load = cores.server, cores.load
    shared = set(server or load) & set(load or server)
    return HeldCores(**cores.model_dump(), shared=tuple(sorted(shared)))


Entries = Sequence[Saturation | None]
"""Of a case, round by round; None where a round has none (yet)."""
Found = Mapping[Case, Entries]


def server_row(case: Case, entries: Entries) -> ServerRow:
    """A case's row, of the rounds that have it."""
    present = [entry for entry in entries if entry is not None]
    rates = tuple(entry.requests_per_second for entry in present)
    middle = median(rates) or 0.0
    p50 = tuple(entry.p50_seconds for entry in present)
    return ServerRow(
        **case.model_dump(),
        requests_per_second=middle,
        rows_per_second=middle * case.rows,
        requests_per_second_by_round=rates,
        p50_seconds=median(p50),
        p50_seconds_by_round=p50,
        p99_seconds=median([entry.p99_seconds for entry in present]),
        client=present[0].client,
    )


FIGURES: Mapping[str, str] = {
    "requests_per_second": "req/s",
    "rows_per_second": "rows/s",
    "p50_seconds": "p50",
}


def figure_of(case: Case, entry: Saturation | None, figure: str) -> float | None:
    """One of FIGURES of one round."""
    if entry is None:
        return None
    if figure == "rows_per_second":
        return entry.requests_per_second * case.rows
    value: float | None = getattr(entry, figure)
    return value


def ratio_row(found: Found, of: Case, to: Case, figure: str) -> RatioRow | None:
    """Ours to theirs, round by round; None where a case has no figure."""
    ours = [figure_of(of, entry, figure) for entry in found.get(of, ())]
    theirs = [figure_of(to, entry, figure) for entry in found.get(to, ())]
    ratio: Ratio | None = paired_ratio(ours, theirs)
    single = [a / b for a, b in zip(ours, theirs, strict=False) if a is not None and b]
    if ratio is None or not single:
        return None
    return RatioRow(
        of=of,
        to=to,
        figure=figure,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        lowest=min(single),
        highest=max(single),
    )
