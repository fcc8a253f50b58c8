"""onnxruntime-web in Node: what a browser's WebAssembly makes of an exported model."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.edge.document import EDGE_DOCUMENT, EdgeDocument
from compression.store import ModelStore
from serve_app.runners.loading import load_variant

HERE = Path(__file__).parents[1] / "web"
TIMEOUT_SECONDS = 280

Scores = npt.NDArray[np.float64]


class MissingNodeError(RuntimeError):
    """Node or npm is not installed."""


@dataclass(frozen=True)
class Probe:
    """What became of the model files of a folder."""

    problems: Mapping[str, str | None]
    """The error by file name, None where it ran."""
    heap_bytes: int
    """The WebAssembly heap afterwards; it begins at 16 MiB and grows by fifths at least."""


@dataclass(frozen=True)
class WebRuntime:
    """Node with the packages that package-lock.json pins."""

    node: str

    @classmethod
    def install(cls) -> WebRuntime:
        """Find Node and bring its packages, where that has not been done for this lock file.

        Raises:
            MissingNodeError: says what to install.
        """
        node, npm = _required("node"), _required("npm")
        lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
        stamp = HERE / "node_modules" / ".installed"
        if not stamp.exists() or stamp.read_text() != lock:
            _finished([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            stamp.write_text(lock)
        return cls(node)

    def run(self, folders: Sequence[Path]) -> list[list[dict[str, list[float]]]]:
        """Outputs by name of every request in the samples.json of each exported folder."""
        outputs: list[list[dict[str, list[float]]]] = json.loads(
            self.script(HERE / "run.mjs", *folders)
        )
        return outputs

    def probe(self, folder: Path) -> Probe:
        """Open every model file of a folder and run it once on ones."""
        return Probe(**json.loads(self.script(HERE / "probe.mjs", folder)))

    def script(self, path: Path, *arguments: Path) -> str:
        """What a script prints."""
        return _finished([self.node, str(path), *(str(a.resolve()) for a in arguments)])


def _required(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise MissingNodeError(
            f"{program} is not installed: it runs exported models in onnxruntime-web. Install "
            "Node 18 or newer with npm, on Debian: apt-get install nodejs npm"
        )
    return path


def _finished(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        # From the end, for Node prints the line that failed first, and bundles are one long line.
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}: …{done.stderr[-1500:]}"
        )
    return done.stdout


@dataclass(frozen=True)
class Comparison:
    """An exported folder in WebAssembly beside the variant it was made of on a server."""

    rows: int
    max_difference: float
    """Largest difference of the decision's output."""
    equal_decisions: float
    """Share of sample rows, 0 to 1."""
    alerts: int
    """Rows that the server alerts on."""


def compare(web: WebRuntime, folders: Sequence[Path], store: str) -> list[Comparison]:
    """Run folders' samples in Node, and the same rows of the store in the server's runner."""
    return [
        _compared(folder, store, np.array([row[_edge(folder).decision.output] for row in outputs]))
        for folder, outputs in zip(folders, web.run(folders), strict=True)
    ]


def _compared(folder: Path, store: str, found: Scores) -> Comparison:
    edge = _edge(folder)
    expected = _served(store, edge, len(found)).reshape(found.shape)
    threshold = edge.decision.threshold
    return Comparison(
        rows=len(found),
        max_difference=float(np.abs(found - expected).max()),
        equal_decisions=float(((found >= threshold) == (expected >= threshold)).mean()),
        alerts=int((expected >= threshold).sum()),
    )


def _edge(folder: Path) -> EdgeDocument:
    return EdgeDocument.model_validate_json((folder / EDGE_DOCUMENT).read_bytes())


def _served(store: str, edge: EdgeDocument, rows: int) -> Scores:
    """What the server's runner answers the first sample rows, a request each."""
    runner = load_variant(ModelStore(store), edge.model, edge.variant, threads=1).runner
    samples = ModelStore(store).samples(edge.model)
    answers: list[Any] = [
        runner.run(samples.rows(row, row + 1))[edge.decision.output] for row in range(rows)
    ]
    return np.concatenate(answers).astype(np.float64)
