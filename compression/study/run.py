"""Run a study: train every arm with every seed, judge all on the same validation rows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from compression.chains import ChainRunner
from compression.console import Stages
from compression.examination import Examination
from compression.files import write_whole
from compression.machine import this_machine
from compression.recipe import ORIGINAL
from compression.study.config import Study
from compression.study.results import StudyResults, arm_results, results_table
from compression.techniques.context import Context
from compression.training.scoring import outputs_of
from compression.workloads import find_workload
from compression.workloads.windows import all_or_drawn

RESULTS, TABLE = "results.json", "study.md"


def run_study(study: Study, source: str, work: Path, out: Path) -> StudyResults:
    """Train, judge, and write `results.json` and `study.md` into `out`.

    Finished trainings are kept in `work` by content: an interrupted study goes on there.
    """
    recipe, workers = study.recipe, os.cpu_count() or 1
    with Stages() as stages:
        with stages.stage("data") as advance:
            workload = find_workload(study.workload, source).open()
            advance(1, 1)
        rows = all_or_drawn(workload, workload.validation, study.validation.negatives, study.seed)
        context = Context(workload, study.seed, work, rows)
        chains = ChainRunner(recipe, source, context, stages, workers).run()
        with stages.stage("original: scoring validation") as advance:
            outputs = {ORIGINAL: context.original_outputs(advance, workers)}
        for name, chain in chains.items():
            if name != ORIGINAL:
                outputs[name] = outputs_of(
                    chain.candidate.module, workload.gather, rows.rows, workers=workers
                )
    examination = Examination(workload, rows, recipe.test.replicates, study.seed)
    intervals = examination.intervals(outputs, ORIGINAL)
    runs = [name for name in chains if name != ORIGINAL]
    notes = {name: chains[name].candidate.notes[0] for name in runs}
    results = StudyResults(
        study_sha256=hashlib.sha256(study.model_dump_json().encode()).hexdigest(),
        seeds=study.seeds,
        rows=len(rows.rows),
        machine=this_machine(threads=1),
        arms=arm_results(
            study,
            {name: intervals[name].ratios["average_precision"].value for name in runs},
            {name: notes[name]["training_seconds"] for name in runs},
            {name: notes[name]["rows_seen"] for name in runs},
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / RESULTS, results.model_dump_json(indent=2).encode() + b"\n")
    write_whole(out / TABLE, f"{results_table(results).markdown()}\n".encode())
    return results
