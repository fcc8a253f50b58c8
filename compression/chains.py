"""Run the chains of a recipe, several at once, each step cached by content.

A step's content is everything its result depends on: data, the original's weights, the parent's
content, technique and options, seed. A second run of an unchanged recipe loads every step.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event

import torch

from compression.console import Advance, Stages
from compression.errors import CompressionError
from compression.recipe import ORIGINAL, ChainConfig, Recipe, parsed_steps
from compression.techniques import Technique
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate, Template
from compression.techniques.context import Context

CODE_VERSION = 4
"""Raise it when a technique's result changes for the same options: it empties the cache."""
SCRATCH = "unfinished"
"""Folder below a step's own for what an interrupted step goes on from."""


class OutOfTime(Exception):
    """A chain was not whole at its deadline; what it has trained is kept for the next run."""


@dataclass(frozen=True)
class Chain:
    """A chain that ran: what came out, and the hash of everything it depends on."""

    name: str
    parent: str | None
    family: Family
    steps: tuple[tuple[str, Options], ...]
    """All techniques since the original, with their options."""
    candidate: Candidate
    content_sha256: str


def _content(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class ChainRunner:
    """Runs all chains of a recipe, `workers` at a time, one thread each."""

    def __init__(
        self, recipe: Recipe, source: str, context: Context, stages: Stages, workers: int
    ) -> None:
        self._recipe, self._source, self._context = recipe, source, context
        self._stages, self._workers = stages, workers
        self._interrupted = Event()
        self._deadline = math.inf

    def run(self) -> dict[str, Chain]:
        """Every variant and baseline by name, in the recipe's order."""
        with self._started() as futures:
            return {name: future.result() for name, future in futures.items()}

    def run_until(
        self, deadline: float, done: Callable[[], None]
    ) -> tuple[dict[str, Chain], dict[str, str]]:
        """Chains that were whole at the deadline (of `time.monotonic`), and why others are not.

        `done` is called as each chain ends. Steps that are cached are loaded after the deadline,
        too. A chain that fails takes no other one with it but its children.
        """
        self._deadline = deadline
        whole: dict[str, Chain] = {}
        failed: dict[str, str] = {}
        with self._started() as futures:
            for name, future in futures.items():
                try:
                    whole[name] = future.result()
                except (OutOfTime, CompressionError) as error:
                    failed[name] = str(error)
                done()
        return whole, failed

    def forget(self) -> None:
        """Remove what the recipe's steps have left in `work`, and the scores of what they made."""
        work = self._context.work
        for content in self._contents():
            shutil.rmtree(work / "steps" / content[:24], ignore_errors=True)
            for scores in (work / "scores").glob(f"{content[:24]}-*.npz"):
                scores.unlink()

    def _contents(self) -> set[str]:
        """Content of the original and of every step, without running any."""
        ends: dict[str, str] = {}
        found = set()
        for name, config in self._recipe.chains().items():
            content = ends.get(config.parent or ORIGINAL, self._original_content())
            found.add(content)
            for technique, options in parsed_steps(self._source, name, config):
                content = self._step_content(content, technique, options)
                found.add(content)
            ends[name] = content
        return found

    @contextmanager
    def _started(self) -> Iterator[dict[str, Future[Chain]]]:
        """All chains on a pool.

        Small models gain little from a second thread in one operation: chains run side by side,
        one thread each.
        """
        futures: dict[str, Future[Chain]] = {}
        with ThreadPoolExecutor(
            self._workers, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            # Parents come first in the recipe, so a waiting chain never starves its parent.
            for name, chain in self._recipe.chains().items():
                futures[name] = pool.submit(self._chain, name, chain, futures)
            try:
                yield futures
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    self._interrupted.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _chain(self, name: str, config: ChainConfig, done: dict[str, Future[Chain]]) -> Chain:
        chain = self._original() if name == ORIGINAL else self._start(name, config, done)
        for technique, options in parsed_steps(self._source, name, config):
            chain = self._step(chain, technique, options)
        return chain

    def _original(self) -> Chain:
        candidate = Candidate(Template("original"), self._context.workload.original())
        return Chain(ORIGINAL, None, "original", (), candidate, self._original_content())

    def _original_content(self) -> str:
        workload = self._context.workload
        return _content(
            CODE_VERSION,
            workload.source_sha256,
            workload.data_sha256,
            workload.original_sha256,
            self._recipe.seed,
        )

    def _step_content(self, parent: str, technique: Technique, options: Options) -> str:
        rows = self._context.validation.rows
        return _content(
            parent, technique.name, options.identity(), len(rows), *self._gate_for(options)
        )

    def _start(self, name: str, config: ChainConfig, done: dict[str, Future[Chain]]) -> Chain:
        parent = done[config.parent or ORIGINAL].result()
        if config.imports:
            return replace(parent, name=name, parent=None)
        return Chain(
            name, parent.name, parent.family, parent.steps, parent.candidate, parent.content_sha256
        )

    def _step(self, chain: Chain, technique: Technique, options: Options) -> Chain:
        content = self._step_content(chain.content_sha256, technique, options)
        folder = self._context.work / "steps" / content[:24]
        candidate = Candidate.load(folder, self._context.workload)
        if candidate is None:
            self._check_time()
            with self._stages.stage(f"{chain.name}: {technique.name}") as advance:
                report = self._until_interrupted(advance)
                context = replace(self._context, scratch=folder / SCRATCH)
                candidate = technique.apply(chain.candidate, options, context, report)
            candidate.save(folder)
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        return Chain(
            chain.name,
            chain.parent,
            technique.family or chain.family,
            (*chain.steps, (technique.name, options)),
            candidate,
            content,
        )

    def _gate_for(self, options: Options) -> tuple[object, ...]:
        """What a step that listens to the gate depends on; another gate leaves others alone."""
        if not options.listens_to_gate:
            return ()
        return self._context.gate.model_dump(), self._context.replicates

    def _until_interrupted(self, advance: Advance) -> Advance:
        """Ctrl-C reaches the main thread only; the others learn of it when they next report."""

        def report(done: int, total: int) -> None:
            if self._interrupted.is_set():
                raise KeyboardInterrupt
            self._check_time()
            advance(done, total)

        return report

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise OutOfTime("the time was up")
