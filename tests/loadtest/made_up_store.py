"""A model store with made-up but lifelike numbers, written as the plain files of the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "fraud"
TEST = "weeks 25 to 28, all frauds and every 20th other row, weighted"

# name, family, parent, techniques, parameters, bytes, AP, agreement, scores, verdict, model p50
_VARIANTS: tuple[tuple[Any, ...], ...] = (
    ("original", "original", None, (), 6_300_000, 25_400_000, 0.8412, None, 41_230, "reference",
     5.1e-3),
    ("original-onnx", "quantized", "original", ("export",), 6_300_000, 25_300_000, 0.8412, 1.0,
     41_230, "passed", 2.1e-3),
    ("pruned", "pruned", "original", ("prune", "finetune"), 2_900_000, 11_700_000, 0.8361, 0.9984,
     40_877, "passed", 1.05e-3),
    ("int8", "quantized", "original", ("quantize",), 6_300_000, 6_600_000, 0.8398, 0.9991, 18_420,
     "passed", 1.12e-3),
    ("distilled", "distilled", "original", ("distill",), 61_000, 262_000, 0.8274, 0.9973, 39_105,
     "passed", 5.2e-5),
    ("distilled-int8", "quantized", "distilled", ("distill", "quantize"), 61_000, 98_000, 0.8141,
     0.9952, 2_310, "failed", 4.6e-5),
)  # fmt: skip

NAMES = tuple(variant[0] for variant in _VARIANTS)
MODEL_SECONDS = {variant[0]: variant[10] for variant in _VARIANTS}
SCORES = [round(0.02 * number, 3) for number in range(32)]


def write_store(root: Path, rows: int = 200) -> Path:
    """Write the store below `root` and return its folder."""
    store = root / "store"
    folder = store / MODEL
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    arrays: Any = {
        "input.features": rng.normal(size=(rows, 4)).astype(np.float32),
        "label": (rng.random(rows) < 0.1).astype(np.float32),
        "routing_key": np.array([f"customer-{n % 50}" for n in range(rows)]),
    }
    np.savez_compressed(folder / "samples.npz", **arrays)
    _write(folder / "model.json", model_document())
    _write(folder / "baselines.json", baselines_document())
    for variant in _VARIANTS:
        _write(folder / "variants" / variant[0] / "manifest.json", manifest_document(*variant))
    return store


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))


def model_document() -> dict[str, Any]:
    """`model.json`."""
    return {
        "schema_version": 1,
        "name": MODEL,
        "workload": "fraud",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1]}],
        "decision": {"output": "score", "threshold": 0.5},
        "routing_key": "customer_id",
        "champion": "original",
        "samples": {"path": "samples.npz", "sha256": "0" * 64, "bytes": 1},
        "data": {"source": "simulated"},
    }


def quality(ap: float, agreement: float | None, scores: int) -> dict[str, Any]:
    """`Quality` of a manifest or a baseline."""
    metrics = {
        "average_precision": {"value": ap, "low": ap - 0.011, "high": ap + 0.011},
        "auc": {
            "value": 0.9 + ap / 10,
            "low": 0.9 + ap / 10 - 0.004,
            "high": 0.9 + ap / 10 + 0.004,
        },
        "card_precision_100": {"value": round(ap - 0.1, 4)},
        "recall_at_fpr_1pct": {"value": round(ap + 0.02, 4)},
        "ece": {"value": round(0.02 + (0.8412 - ap) / 10, 5)},
    }
    ratio = ap / 0.8412
    return {
        "test": TEST,
        "rows": 120_400,
        "positives": 812,
        "metrics": metrics,
        "ratios_to_original": {
            "average_precision": {"value": ratio, "low": ratio - 0.006, "high": ratio + 0.006}
        },
        "decision_agreement": agreement,
        "distinct_scores": scores,
        "distinct_scores_original": 41_230,
    }


def manifest_document(
    name: str,
    family: str,
    parent: str | None,
    techniques: tuple[str, ...],
    parameters: int,
    size_bytes: int,
    ap: float,
    agreement: float | None,
    scores: int,
    verdict: str,
    p50_seconds: float,
) -> dict[str, Any]:
    """`manifest.json` of one variant."""
    kept = ap / 0.8412
    checks = [
        {"name": "average_precision_kept", "value": kept, "bound": 0.98, "passed": kept >= 0.98}
    ]
    steps = [
        {"technique": technique, "options": {"seed": 1}, "seconds": 42.0, "notes": {}}
        for technique in techniques
    ]
    return {
        "schema_version": 1,
        "model": MODEL,
        "name": name,
        "family": family,
        "created_at": "2026-11-20T10:00:00Z",
        "runtime": {
            "engine": "torch" if name == "original" else "onnxruntime",
            "artifact": "model.onnx",
            "precision": "int8" if "int8" in name else "fp32",
            "needs": {},
            "integer_kernels": 14 if "int8" in name else 0,
        },
        "files": [{"path": "model.onnx", "sha256": "1" * 64, "bytes": size_bytes}],
        "lineage": {
            "parent": parent,
            "chain": steps,
            "recipe_sha256": "2" * 64,
            "content_sha256": f"{NAMES_HASH.get(name, 0):064x}",
            "data_sha256": "3" * 64,
            "seed": 1,
        },
        "parameters": parameters,
        "flops_per_row": parameters * 2,
        "decision_threshold": 0.5,
        "quality": quality(ap, agreement, scores),
        "gate": {"verdict": verdict, "checks": [] if verdict == "reference" else checks},
        "latency": {
            "machine": {
                "cpu": "Some CPU", "cores": 2, "threads": 1, "memory_bytes": 8_000_000_000,
                "platform": "Linux", "versions": {},
            },
            "by_rows": [
                {"rows": 1, "calls": 200, "p50_seconds": p50_seconds,
                 "p90_seconds": p50_seconds * 1.2, "p99_seconds": p50_seconds * 1.6}
            ],
        },
        "probe_scores": SCORES,
    }  # fmt: skip


NAMES_HASH = {name: number + 10 for number, name in enumerate(NAMES)}


def baselines_document() -> dict[str, Any]:
    """`baselines.json`."""
    return {
        "schema_version": 1,
        "profile": "quick",
        "notes": [
            "Gradient boosting on the same features reaches an average precision of 0.792; the "
            "original is ahead by 0.049.",
            "The student trained alone stays 0.012 below the distilled one: the teacher helped.",
        ],
        "baselines": [
            {
                "name": "gradient-boosting",
                "description": "Histogram gradient boosting on the last transaction's features",
                "parameters": None,
                "training_seconds": 14.2,
                "quality": quality(0.7921, 0.991, 9_870),
            },
            {
                "name": "student-alone",
                "description": "The distilled student's architecture, trained without a teacher",
                "parameters": 61_000,
                "training_seconds": 55.0,
                "quality": quality(0.8153, 0.9949, 38_400),
            },
        ],
    }
