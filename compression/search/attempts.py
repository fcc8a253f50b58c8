"""Run plans and look at what comes out: size, quality on validation rows, latency in turns."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from compression.artifacts import Artifact, open_artifact
from compression.bench.benchmark import one_thread
from compression.bench.latency_rounds import Call, Rounds, measure_rounds, over_rounds, times_faster
from compression.chains import Chain, ChainRunner
from compression.console import Stages, console
from compression.files import write_whole
from compression.judge import Judge
from compression.quality.gate import judge
from compression.recipe import ORIGINAL, ChainConfig, Recipe
from compression.search.examined import Examined
from compression.search.space import EXPORTED, Plan
from compression.store import Estimate, Quality
from compression.store.manifest import Document
from compression.techniques.context import Context

ROUNDS, SLICE_SECONDS = 5, 0.1
"""Of a first look. What counts is measured in the end, all in turns."""


class Record(Document):
    """What a first look at a chain found; cached by the chain's content, beside its graph."""

    quality: Quality
    p50_seconds: float
    p99_seconds: float
    times_faster: Estimate


def chain_configs(plans: Sequence[Plan]) -> dict[str, ChainConfig]:
    """Plans as a recipe has them: after the original, a quantised one `from` what it starts at.

    What others start at comes first, whatever the order of the plans: a front has them as they
    were finished. And it must be the same: a front may have a student of all its epochs beside
    what was quantised of it after some.
    """
    by_name = {plan.name: plan for plan in plans}
    chains = {ORIGINAL: ChainConfig()}
    for plan in sorted(plans, key=lambda plan: plan.name != plan.family):
        start = by_name.get(plan.family)
        starts_at_another = start is not None and start.steps == plan.steps[:-1]
        parent, steps = (
            (plan.family, plan.steps[-1:]) if starts_at_another else (ORIGINAL, plan.steps)
        )
        chains[plan.name] = ChainConfig.model_validate({"from": parent, "steps": steps})
    return chains


@dataclass
class Attempts:
    """Runs plans of one search; what it has finished it finds again in the context's work."""

    recipe: Recipe
    source: str
    context: Context
    stages: Stages
    workers: int
    deadline: float
    """Of `time.monotonic`; nothing is trained after it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why a plan has no result, by name."""
    _graphs: dict[str, bytes] = field(default_factory=dict)
    _reference: bytes = b""

    def __call__(self, plans: Sequence[Plan]) -> Mapping[str, Examined]:
        """Finished plans by name; the rest are in `failed`."""
        recipe = self.recipe.model_copy(update={"variants": chain_configs(plans), "baselines": {}})
        runner = ChainRunner(recipe, self.source, self.context, self.stages, self.workers + 1)
        with self.stages.stage(self._title(plans)) as advance:
            done = [0]

            def one_done() -> None:
                done[0] += 1
                advance(done[0], len(plans) + 1)

            chains, failed = runner.run_until(self.deadline, one_done)
        self.failed |= failed
        return self._examine([plan for plan in plans if plan.name in chains], chains)

    def _title(self, plans: Sequence[Plan]) -> str:
        share = max((plan.share for plan in plans), default=1.0)
        left = (self.deadline - time.monotonic()) / 60
        budget = f", {max(0.0, left):.0f} min left" if math.isfinite(left) else ""
        return f"auto: {len(plans)} chains, {100 * share:.0f} % of epochs{budget}"

    def _examine(self, plans: Sequence[Plan], chains: Mapping[str, Chain]) -> dict[str, Examined]:
        found = {}
        self._reference = self.context.float_graph(chains[ORIGINAL].candidate.module)
        with self.stages.stage("auto: looking at what came out") as advance:
            for done, plan in enumerate(plans):
                found[plan.name] = self._examined(plan, chains[plan.name])
                self.failed.pop(plan.name, None)
                advance(done + 1, len(plans))
        return found

    def _examined(self, plan: Plan, chain: Chain) -> Examined:
        record, graph = self._cached(chain)
        if record is None or graph is None:
            record, graph = self._looked_at(plan, chain)
        self._graphs[plan.name] = graph
        return Examined(
            plan,
            chain.content_sha256,
            len(graph),
            record.quality.ratios_to_original["average_precision"],
            judge(record.quality, self.context.gate).verdict,
            record.p50_seconds,
            record.p99_seconds,
            record.times_faster,
            sum(chain.candidate.seconds),
        )

    def _looked_at(self, plan: Plan, chain: Chain) -> tuple[Record, bytes]:
        artifact = Artifact.of(chain, self.context)
        graph = artifact.content
        scorer = Judge(self.context, self.recipe, self.stages, self.workers)
        quality = self.context.validation_quality(
            lambda rows: scorer.outputs(artifact, rows, "validation")
        )
        rounds = self._in_turns(
            {"reference": self._reference, plan.name: graph}, ROUNDS, SLICE_SECONDS
        )
        mine = rounds[plan.name]
        record = Record(
            quality=quality,
            p50_seconds=over_rounds(mine.p50_seconds).value,
            p99_seconds=over_rounds(mine.p99_seconds).value,
            times_faster=times_faster(mine, rounds["reference"]),
        )
        folder = self._folder(chain)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "model.onnx", graph)
        write_whole(folder / "record.json", record.model_dump_json().encode())
        return record, graph

    def _cached(self, chain: Chain) -> tuple[Record | None, bytes | None]:
        folder = self._folder(chain)
        try:
            record = Record.model_validate_json((folder / "record.json").read_bytes())
            return record, (folder / "model.onnx").read_bytes()
        except (FileNotFoundError, ValidationError):
            return None, None  # not looked at yet, or by an older release

    def _folder(self, chain: Chain) -> Path:
        rows = hashlib.sha256(self.context.validation.rows.tobytes()).hexdigest()
        replicates = self.context.replicates
        return self.context.work / "search" / f"{chain.content_sha256[:24]}-{rows[:8]}-{replicates}"

    def measured(self, known: Mapping[str, Examined]) -> dict[str, Examined]:
        """The same chains, their latencies measured in turns with all others."""
        auto = self.recipe.auto
        names = sorted(known, key=lambda name: name != EXPORTED)
        graphs = {name: self._graphs[name] for name in names}
        rounds = self._in_turns(graphs, auto.rounds, auto.slice_seconds, "auto: measuring in turns")
        return {
            name: one.timed(
                over_rounds(rounds[name].p50_seconds).value,
                over_rounds(rounds[name].p99_seconds).value,
                times_faster(rounds[name], rounds[EXPORTED]),
            )
            for name, one in known.items()
        }

    def _in_turns(
        self, graphs: Mapping[str, bytes], rounds: int, seconds: float, title: str = ""
    ) -> dict[str, Rounds]:
        workload = self.context.workload
        row = workload.gather(workload.validation[:1])

        def call(graph: bytes) -> Call:
            infer = open_artifact("onnxruntime", graph)
            return lambda rows: infer(row)

        calls = {name: call(graph) for name, graph in graphs.items()}
        with one_thread():
            if not title:
                measured = measure_rounds(calls, [1], rounds=rounds, slice_seconds=seconds)
            else:
                with self.stages.stage(title) as report:
                    measured = measure_rounds(
                        calls, [1], rounds=rounds, slice_seconds=seconds, report=report
                    )
        return {name: by_rows[1] for name, by_rows in measured.items()}


def deadline_in(minutes: float | None) -> float:
    """On the clock of `time.monotonic`; infinity for None."""
    return math.inf if minutes is None else time.monotonic() + 60 * minutes


def tell_failed(failed: Mapping[str, str]) -> None:
    """Plans without a result, one line each."""
    for name, why in failed.items():
        console.print(f"{name}: not finished: {why}", soft_wrap=True)
