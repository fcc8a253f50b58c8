"""From a verified variant to a runner that has proved itself.

Loading warms the runner up on real requests, times it, and compares its scores with those the
manifest recorded when the variant was made. A server that cannot reproduce them does not start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from compression.store import (
    CorruptArtifactError,
    Manifest,
    ModelDocument,
    ModelStore,
    Samples,
    VariantFiles,
)
from compression.store.layout import PROBE_ROWS
from serve_app.errors import SelfCheckError
from serve_app.runners.aside import wait_for
from serve_app.runners.base import Arrays, Aside, Runner
from serve_app.runners.onnx import OnnxRunner
from serve_app.sizes import batch_rows_for, is_short

TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "fp16": 5e-3, "int8": 0.02, "int4": 0.05}
"""Largest difference of a score that another machine's kernels may cause, by precision."""

_WARM_UP_CALLS = 3
_FEWEST_CALLS, _MOST_CALLS = 5, 200
_TIMED_SECONDS = 0.02


@dataclass(frozen=True)
class LoadedVariant:
    """A runner in working order, with what it is and how long it takes."""

    runner: Runner
    manifest: Manifest
    seconds_per_call: float
    """Time of a call with one row, undisturbed, on this machine."""
    seconds_per_row: float
    """What each further row adds, seconds."""
    aside: Aside | None = None
    """The runtime's own way to compute beside the event loop; None: threads."""


def _onnx(files: VariantFiles, document: ModelDocument, threads: int) -> Runner:
    return OnnxRunner(files.artifact, [spec.name for spec in document.outputs], threads)


def _program(files: VariantFiles, document: ModelDocument, threads: int) -> Runner:
    from serve_app.runners.program import ProgramRunner

    inputs = [spec.name for spec in document.inputs]
    outputs = [spec.name for spec in document.outputs]
    return ProgramRunner(files.artifact, inputs, outputs, threads)


ENGINES: Mapping[str, Callable[[VariantFiles, ModelDocument, int], Runner]] = {
    "onnxruntime": _onnx,
    "torch": _program,
}
"""Runners by the manifest's `runtime.engine`."""


def load_variant(
    store: ModelStore, model: str, variant: str, threads: int, max_batch_rows: int | None = None
) -> LoadedVariant:
    """Read, verify, open, warm up and check a variant; up to batches of `max_batch_rows`, or of
    as many rows as a server will choose.

    Raises:
        StoreError: the store or the variant cannot be read, or is not what it was.
        SelfCheckError: it opens, and its scores are not the recorded ones.
    """
    document, samples = store.model(model), store.samples(model)
    files = store.load(model, variant)
    try:
        runner = ENGINES[files.manifest.runtime.engine](files, document, threads)
    except CorruptArtifactError as error:
        raise CorruptArtifactError(f"variant {variant!r} of {model!r}: {error}") from error
    check_scores(runner.run, files.manifest, document, samples)
    one, a_row = _time(runner, samples)
    if runner.warm_up(partial(batch_of, samples), max_batch_rows or batch_rows_for(a_row)):
        check_scores(runner.run, files.manifest, document, samples)
        one, a_row = _time(runner, samples)
    rows = max_batch_rows or batch_rows_for(a_row)
    aside = runner.aside(files.artifact) if is_short(one, a_row, rows) else None
    if aside is not None:
        wait_for(aside, batch_of(samples, rows))
        check_scores(partial(wait_for, aside), files.manifest, document, samples)
    return LoadedVariant(runner, files.manifest, one, a_row, aside)


def check_scores(
    run: Callable[[Arrays], Arrays], manifest: Manifest, document: ModelDocument, samples: Samples
) -> None:
    """Score the first sample rows and compare with the manifest; all rows in one batch.

    Raises:
        SelfCheckError: a score differs by more than the precision's tolerance.
    """
    given, recorded = _probe(run, manifest, document, samples)
    difference = np.abs(given - recorded)
    worst = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
    tolerance = TOLERANCES[manifest.runtime.precision]
    if not difference[worst] <= tolerance:
        raise SelfCheckError(
            f"variant {manifest.name!r} scores sample row {worst} as {given[worst]:.6g}, its "
            f"manifest records {recorded[worst]:.6g} (tolerance {tolerance}): "
            "the runtime here computes something else; see runtime.needs in the manifest"
        )


def largest_difference(
    runner: Runner, manifest: Manifest, document: ModelDocument, samples: Samples
) -> float:
    """Of a sample row's score to the one that the manifest records.

    Raises:
        SelfCheckError: the variant cannot compute them.
    """
    given, recorded = _probe(runner.run, manifest, document, samples)
    return float(np.abs(given - recorded).max())


def _probe(
    run: Callable[[Arrays], Arrays], manifest: Manifest, document: ModelDocument, samples: Samples
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scores of the first sample rows, computed here and recorded."""
    rows = min(PROBE_ROWS, len(manifest.probe_scores), len(samples))
    if rows == 0:
        raise SelfCheckError(f"variant {manifest.name!r}: its manifest records no probe scores")
    try:
        scores = run(samples.rows(0, rows))[document.decision.output]
    except Exception as error:
        raise SelfCheckError(
            f"variant {manifest.name!r} fails on the store's own samples: {error}"
        ) from error
    given = np.asarray(scores, dtype=np.float64).reshape(rows, -1)[:, 0]
    return given, np.asarray(manifest.probe_scores[:rows], dtype=np.float64)


def batch_of(samples: Samples, rows: int) -> Arrays:
    """A batch of so many rows, of samples that come again if there are not enough."""
    return {
        name: np.resize(array, (rows, *array.shape[1:]))
        for name, array in samples.rows(0, min(rows, len(samples))).items()
    }


def _time(runner: Runner, samples: Samples) -> tuple[float, float]:
    """Seconds of a call with one row, and of each further row."""
    one, many = _least_seconds(runner, samples, 1), _least_seconds(runner, samples, PROBE_ROWS)
    return one, max(0.0, (many - one) / max(1, PROBE_ROWS - 1))


def _least_seconds(runner: Runner, samples: Samples, rows: int) -> float:
    """Least seconds of a call with `rows` rows, after a warm-up.

    The least, because others start at the same time: the median of a model of 28 µs was 36 to 92.
    """
    batch = samples.rows(0, rows)
    for _ in range(_WARM_UP_CALLS):
        runner.run(batch)
    least, calls, begun = math.inf, 0, time.perf_counter()
    while calls < _FEWEST_CALLS or (
        calls < _MOST_CALLS and time.perf_counter() - begun < _TIMED_SECONDS
    ):
        started = time.perf_counter()
        runner.run(batch)
        least = min(least, time.perf_counter() - started)
        calls += 1
    return least
