"""`python -m serve_app devices`: how long a call of each variant takes on the CPU and on the GPU.

A GPU pays for large models and large batches; a small model is faster where it need not be sent.
Rounds are interleaved: each calls every way of computing in turn, so what disturbs the machine
disturbs all of them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from compression.store import ModelDocument, ModelStore, Samples, VariantFiles
from serve_app.runners import Runner
from serve_app.runners.loading import batch_of, largest_difference
from serve_app.runners.onnx import OnnxRunner
from serve_app.runners.providers import CPU, CUDA, choose_providers

_FEWEST_CALLS = 3
_WARM_UP_CALLS = 2

CPU_WAY, GPU_WAY, REPLAY_WAY = "CPU", "GPU", "GPU, recorded"


@dataclass(frozen=True)
class Options:
    """What is measured; `variants` empty: all that are published."""

    store: str
    model: str
    variants: tuple[str, ...] = ()
    rows: tuple[int, ...] = (1, 8, 64, 512)
    threads: int = 1
    rounds: int = 5
    seconds: float = 0.2
    """Of each round, variant, way and number of rows; a call that takes longer is made thrice."""


@dataclass(frozen=True)
class Timing:
    """Microseconds of a call: the median of the rounds' medians, and their range."""

    variant: str
    rows: int
    way: str
    microseconds: float
    least_microseconds: float
    most_microseconds: float
    of_cpu: float
    """Share of the CPU's time for as many rows: the median of the rounds, and their range."""
    least_of_cpu: float
    most_of_cpu: float


@dataclass(frozen=True)
class Way:
    """A variant, ready to compute in one way."""

    name: str
    detail: str
    run: Callable[[Any], object]
    difference: float
    """Of a score to the one that the manifest records, at most."""


@dataclass(frozen=True)
class Measured:
    """Everything about one variant; `ways` maps a way to what it runs on."""

    variant: str
    ways: dict[str, str]
    differences: dict[str, float]
    timings: tuple[Timing, ...]


def measure(options: Options, console: Console) -> list[Measured]:
    """Measure the variants one after the other.

    Raises:
        StoreError: the store or a variant cannot be read.
        UnusableGpuError: there is a GPU, and ONNX Runtime cannot compute on it.
    """
    store = ModelStore(options.store)
    document, samples = store.model(options.model), store.samples(options.model)
    names = options.variants or tuple(store.variants(options.model))
    measured = []
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(names, description="variants"):
            files = store.load(options.model, name)
            ways = open_ways(files, document, samples, options)
            timings = tuple(
                timing
                for rows in options.rows
                for timing in _timings(name, rows, ways, batch_of(samples, rows), options)
            )
            measured.append(
                Measured(
                    name,
                    {way.name: way.detail for way in ways},
                    {way.name: way.difference for way in ways},
                    timings,
                )
            )
    return measured


def open_ways(
    files: VariantFiles, document: ModelDocument, samples: Samples, options: Options
) -> list[Way]:
    """The ways in which a variant can be computed here, the CPU's first."""
    if files.manifest.runtime.engine == "torch":
        return _program_ways(files, document, samples, options)
    outputs = [spec.name for spec in document.outputs]
    threads, ways = options.threads, []
    found = choose_providers(onnxruntime.get_available_providers())
    runner = OnnxRunner(files.artifact, outputs, threads, providers=[CPU])
    ways.append(_way(CPU_WAY, runner, files, document, samples))
    if CUDA in found:
        plain = OnnxRunner(files.artifact, outputs, threads, providers=found, graphs=False)
        ways.append(_way(GPU_WAY, plain, files, document, samples))
        recorded = OnnxRunner(files.artifact, outputs, threads, providers=found)
        if recorded.warm_up(lambda rows: batch_of(samples, rows), max(options.rows)):
            ways.append(_way(REPLAY_WAY, recorded, files, document, samples))
    return ways


def _program_ways(
    files: VariantFiles, document: ModelDocument, samples: Samples, options: Options
) -> list[Way]:
    from serve_app.runners.program import ProgramRunner, devices

    inputs = [spec.name for spec in document.inputs]
    outputs = [spec.name for spec in document.outputs]
    return [
        _way(
            name,
            ProgramRunner(files.artifact, inputs, outputs, options.threads, device=device),
            files, document, samples,
        )
        for name, device in zip((CPU_WAY, GPU_WAY), devices(), strict=False)
    ]  # fmt: skip


def _way(
    name: str, runner: Runner, files: VariantFiles, document: ModelDocument, samples: Samples
) -> Way:
    difference = largest_difference(runner, files.manifest, document, samples)
    return Way(name, runner.detail, runner.run, difference)


def _timings(
    variant: str, rows: int, ways: Sequence[Way], batch: Any, options: Options
) -> list[Timing]:
    rounds: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            rounds[way.name].append(_seconds(way.run, batch, options.seconds))
    timings = []
    for name, found in rounds.items():
        shares = [own / cpu for own, cpu in zip(found, rounds[CPU_WAY], strict=True)]
        timings.append(
            Timing(
                variant, rows, name,
                statistics.median(found) * 1e6, min(found) * 1e6, max(found) * 1e6,
                statistics.median(shares), min(shares), max(shares),
            )
        )  # fmt: skip
    return timings


def _seconds(run: Callable[[Any], object], batch: Any, seconds: float) -> float:
    """Median of a call."""
    for _ in range(_WARM_UP_CALLS):
        run(batch)
    taken: list[float] = []
    while len(taken) < _FEWEST_CALLS or sum(taken) < seconds:
        started = time.perf_counter()
        run(batch)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def as_document(options: Options, measured: Sequence[Measured]) -> dict[str, Any]:
    """For a JSON file."""
    return {"options": asdict(options), "variants": [asdict(one) for one in measured]}


def show(options: Options, measured: Sequence[Measured], console: Console) -> None:
    """Print a table: a row for each variant and number of rows."""
    names = [CPU_WAY, GPU_WAY, REPLAY_WAY]
    present = [name for name in names if any(name in one.ways for one in measured)]
    table = Table(
        title=f"time of a call, median of {options.rounds} interleaved rounds (range), "
        f"CPU with {options.threads} thread(s)",
        title_justify="left",
    )
    table.add_column("variant")
    table.add_column("rows", justify="right")
    for name in present:
        table.add_column(name, justify="right")
    if len(present) > 1:
        table.add_column("fastest, of the CPU's time", justify="right")
    for one in measured:
        for rows in options.rows:
            found = {timing.way: timing for timing in one.timings if timing.rows == rows}
            cells = [_cell(found.get(name)) for name in present]
            if len(present) > 1:
                best = min(found.values(), key=lambda timing: timing.microseconds)
                cells.append(
                    f"{best.way}: {best.of_cpu:.3g}× "
                    f"({best.least_of_cpu:.3g}-{best.most_of_cpu:.3g})"
                )
            table.add_row(one.variant, f"{rows:,}", *cells)
        table.add_section()
    console.print(table)
    for one in measured:
        for name, detail in one.ways.items():
            console.print(
                f"{one.variant}, {name}: {detail}; scores differ by at most "
                f"{one.differences[name]:.1e} from the recorded ones",
                highlight=False,
            )
    if present == [CPU_WAY]:
        console.print("There is no GPU here that this process can see.")


def _cell(timing: Timing | None) -> str:
    if timing is None:
        return "–"
    return (
        f"{_time(timing.microseconds)} "
        f"({_time(timing.least_microseconds)}-{_time(timing.most_microseconds)})"
    )


def _time(microseconds: float) -> str:
    return f"{microseconds / 1e3:,.1f} ms" if microseconds >= 1e4 else f"{microseconds:,.0f} µs"


def write(path: Path, options: Options, measured: Sequence[Measured]) -> None:
    """Write the figures as JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_document(options, measured), indent=2) + "\n")
