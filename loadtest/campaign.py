"""Measures every variant in turn, round after round: A B C … A B C …

Interleaving spreads whatever else the machine does over all variants. Each step is saved as soon
as it is done.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from loadtest.ledger import Cell, CountedRun, Ledger, LoadDocument, RawHistogram, Scout
from loadtest.measurement import ClosedResult, ClosedSpec, Measurement, Probe, ProbeSpec
from loadtest.plan import (
    BUSY_SHARE,
    COMMON_SHARE,
    PROFILES,
    CellTimes,
    cell_times,
)
from loadtest.processes import Accountant
from loadtest.search import SearchResult, SearchSettings, search

_SATURATING_CONNECTIONS = 16
_SETTLE_SECONDS = 1.0
_CALLS = 1.0
"""Seconds a cell spends between its runs: snapshots, settling, opening connections."""


class Source(Protocol):
    """What runs the probes; `loadtest.generator.Generator` is one."""

    def open_loop(self, spec: ProbeSpec) -> Probe: ...

    def closed_loop(self, spec: ClosedSpec) -> ClosedResult: ...


class Progress(Protocol):
    """Told how far the comparison is."""

    def update(self, doing: str, done_seconds: float, left_seconds: float) -> None: ...


class Campaign:
    """Fills a `LoadDocument`; `clock` is seconds, monotonic."""

    def __init__(
        self,
        document: LoadDocument,
        ledger: Ledger,
        source: Source,
        accountant: Accountant,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._document = document
        self._ledger = ledger
        self._source = source
        self._accountant = accountant
        self._progress = progress
        self._clock = clock
        self._settings = document.settings
        self._plan = PROFILES[document.settings.profile]
        self._start = clock()
        self._seed = document.settings.seed

    def run(self) -> LoadDocument:
        """Measure what is missing; returns the finished document."""
        for number, variant in enumerate(self._settings.variants):
            if variant not in self._document.scouts:
                self._tell(f"{variant}: first look", self._guess(number))
                self._update(scouts={**self._document.scouts, variant: self._scout(variant)})
        slowest = min(s.saturated.requests_per_second for s in self._document.scouts.values())
        if self._document.common_rate_per_second is None:
            self._update(common_rate_per_second=_two_digits(max(0.5, COMMON_SHARE * slowest)))
        for variant, number in self._missing():
            self._tell(f"{variant}: round {number + 1} of {self._settings.rounds}", self._left())
            cell = self._cell(variant, number)
            self._update(cells=(*self._document.cells, cell))
        self._tell("done", 0.0)
        finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._update(finished_at=finished)
        return self._document

    def _update(self, **changes: object) -> None:
        self._document = self._document.model_copy(update=changes)
        self._ledger.save(self._document)

    def _missing(self) -> Iterator[tuple[str, int]]:
        for number in range(self._settings.rounds):
            for variant in self._settings.variants:
                if self._document.cell(variant, number) is None:
                    yield variant, number

    # -- time ----------------------------------------------------------------------------------

    def _tell(self, doing: str, left_seconds: float) -> None:
        self._progress.update(doing, self._clock() - self._start, left_seconds)

    def _guess(self, scouted: int) -> float:
        """Seconds left before anything is known about the variants."""
        budget = self._settings.budget_seconds
        if budget is not None:
            return max(0.0, budget - (self._clock() - self._start))
        cells = len(self._settings.variants) * self._settings.rounds
        each = self._plan.low_seconds + self._plan.first_probes * self._plan.probe_seconds
        return cells * each + (len(self._settings.variants) - scouted) * 2.0

    def _planned(self, variant: str, number: int) -> tuple[CellTimes, float]:
        common = self._document.common_rate_per_second or 1.0
        times = cell_times(
            self._plan,
            first=number == 0,
            capacity_per_second=max(
                1.0, self._document.scouts[variant].saturated.requests_per_second
            ),
            common_rate_per_second=common,
        )
        points = len(self._plan.curve) if number == 0 else 0
        return times, times.total_seconds(points) + _CALLS

    def _left(self) -> float:
        """Seconds that the missing cells will take, within the budget."""
        needed = sum(self._planned(variant, number)[1] for variant, number in self._missing())
        budget = self._settings.budget_seconds
        if budget is None:
            return needed
        return min(needed, max(0.0, budget - (self._clock() - self._start)))

    def _scaled(self, variant: str, number: int) -> tuple[CellTimes, float]:
        """This cell's times, cut where all that is missing would not fit into the budget."""
        times, _ = self._planned(variant, number)
        search_seconds = 0.75 * times.probes * times.probe_seconds
        budget = self._settings.budget_seconds
        if budget is None:
            return times, 2.0 * search_seconds
        missing = list(self._missing())
        needed = sum(self._planned(v, n)[1] - _CALLS for v, n in missing)
        left = budget - (self._clock() - self._start) - _CALLS * len(missing)
        scale = min(1.0, max(0.05, left / needed))
        # Runs have a least length, so a tight budget is kept by fewer probes, not shorter ones.
        # What failing probes, which end early, have left over goes to the next searches.
        spare = max(0.0, left - needed) / len(missing)
        return times.scaled(scale), scale * search_seconds + spare

    # -- one variant ---------------------------------------------------------------------------

    def _scout(self, variant: str) -> Scout:
        seconds = self._plan.scout_seconds
        self._closed(variant, 1, 0.2)  # warm caches and connections, not kept
        return Scout(
            single=self._closed(variant, 1, max(0.2, 0.4 * seconds)),
            saturated=self._closed(variant, _SATURATING_CONNECTIONS, seconds),
        )

    def _closed(self, variant: str, connections: int, seconds: float) -> ClosedResult:
        spec = ClosedSpec(variant=variant, connections=connections, duration_seconds=seconds)
        return self._source.closed_loop(spec)

    def _cell(self, variant: str, number: int) -> Cell:
        times, search_seconds = self._scaled(variant, number)
        common = self._document.common_rate_per_second or 1.0
        self._settle(variant)
        low = self._counted(variant, number, "low", common, times.low_seconds)
        found = self._search(variant, number, times, search_seconds)
        busy: CountedRun | None = None
        curve: list[Measurement] = []
        self._settle(variant)
        if found.r_slo_per_second is not None:
            rate = BUSY_SHARE * found.r_slo_per_second
            busy = self._counted(variant, number, "busy", rate, times.busy_seconds)
            for share in self._plan.curve if number == 0 else ():
                spec = self._spec(
                    variant, share * found.r_slo_per_second, times.curve_seconds, past_knee=True
                )
                curve.append(self._source.open_loop(spec).measurement)
        return Cell(
            variant=variant, round=number, low=low, search=found, busy=busy, curve=tuple(curve)
        )

    def _settle(self, variant: str) -> None:
        """Wait until a lone request is quick again: an overload leaves a queue behind."""
        usual = self._document.scouts[variant].single.latency.p50_seconds or 0.01
        end = self._clock() + _SETTLE_SECONDS
        while self._clock() < end:
            median = self._closed(variant, 1, 0.1).latency.p50_seconds
            if median is not None and median < 3.0 * usual:
                return

    def _spec(
        self, variant: str, rate: float, seconds: float, *, past_knee: bool = False
    ) -> ProbeSpec:
        self._seed += 1
        slo = self._settings.limits.slo_seconds
        # More than this many waiting means that the SLO is lost already (Little's law).
        pool = min(512, max(32, math.ceil(4 * rate * slo)))
        return ProbeSpec(
            variant=variant,
            rate_per_second=rate,
            duration_seconds=seconds,
            arrival=self._settings.arrival,
            seed=self._seed,
            max_in_flight=512 if past_knee else pool,
            drain_seconds=0.5 if past_knee else 1.0,
        )

    def _counted(
        self, variant: str, number: int, kind: str, rate: float, seconds: float
    ) -> CountedRun:
        spec = self._spec(variant, rate, seconds)
        before = self._accountant.snapshot()
        probe = self._source.open_loop(spec)
        after = self._accountant.snapshot()
        raw = {
            "variant": variant,
            "round": number,
            "kind": kind,
            "rate_per_second": rate,
            "histograms": probe.histograms,
        }
        self._ledger.histograms.append(RawHistogram.model_validate(raw))
        predictions = probe.measurement.ok * self._settings.rows_per_request
        use = before.until(after, predictions) if before and after else None
        return CountedRun(measurement=probe.measurement, use=use)

    def _search(
        self, variant: str, number: int, times: CellTimes, search_seconds: float
    ) -> SearchResult:
        end = self._clock() + search_seconds
        previous = self._document.cell(variant, number - 1) if number else None
        known = previous.search.r_slo_per_second if previous else None
        capacity = self._document.scouts[variant].saturated.requests_per_second
        settings = SearchSettings(
            # Just below what held in the round before, so that the first probe is likely to pass.
            start_rate_per_second=0.88 * known if known else max(1.0, 0.6 * capacity),
            growth=1.15 if known else 1.5,
            probes=times.probes,
        )

        def probe(rate: float) -> Measurement:
            if used and used[-1].stopped_early:
                self._settle(variant)
            spec = self._spec(variant, rate, times.probe_seconds).model_copy(
                update={"stop_over_seconds": self._settings.limits.slo_seconds}
            )
            used.append(self._source.open_loop(spec).measurement)
            return used[-1]

        used: list[Measurement] = []
        return search(probe, settings, self._settings.limits, lambda: self._clock() < end)


def _two_digits(value: float) -> float:
    """Rounded down to two significant digits: a rate that reads well."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.floor(value / step + 1e-9) * step, 6)
