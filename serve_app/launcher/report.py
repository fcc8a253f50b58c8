"""What `up` prints and writes once the application answers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from compression.store import Manifest, ModelDocument, ModelStore, StoreError
from serve_app.config import AppConfig


def sample_request(store: ModelStore, document: ModelDocument) -> dict[str, Any]:
    """A request with the first sample row and its routing key."""
    samples = store.samples(document.name)
    row = samples.rows(0, 1)
    return {
        "inputs": [
            {
                "name": spec.name,
                "shape": list(row[spec.name].shape),
                "datatype": spec.datatype,
                "data": np.asarray(row[spec.name]).ravel().tolist(),
            }
            for spec in document.inputs
        ],
        "parameters": {document.routing_key: str(samples.routing_keys[0])},
    }


def write_request(config: AppConfig, document: ModelDocument) -> Path:
    """Write `request.json` next to the store, or aside where the store is not a local folder."""
    local = "://" not in config.store
    folder = Path(config.store).parent if local else Path(tempfile.mkdtemp(prefix="slimserve-"))
    path = folder / "request.json"
    request = sample_request(ModelStore(config.store), document)
    try:
        path.write_text(json.dumps(request))
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="slimserve-")) / "request.json"
        path.write_text(json.dumps(request))
    return _short(path)


def write_ready_file(path: Path, document: Mapping[str, Any]) -> None:
    """Write atomically, readable by this user only: it holds the admin token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
    os.replace(aside, path)


def print_report(
    console: Console,
    *,
    config: AppConfig,
    index: Mapping[str, Any],
    table: Mapping[str, Any],
    url: str,
    request: Path,
    token: str,
    new_token: bool,
) -> None:
    """Where everything is, what is served, and one line to try it with.

    `index` is what `GET /` answered: each of its paths and addresses gets a line.
    """
    model = config.model
    console.print(_variants(config, index.get("variants", ()), table))
    places = {**_places(url, index), "pin": f"{url}/v2/models/{model}/versions/VARIANT/infer"}
    for name, where in places.items():
        console.print(f"{name:<9} {where}", soft_wrap=True)
    console.print(f"{'tables':<9} kept in {config.state_dir}", soft_wrap=True)
    made = "made for this run" if new_token else f"from {config.admin_token_env}"
    console.print(f"token     {token} ({made})" if new_token else f"token     {made}")
    console.print("HAProxy listens on all interfaces: close the port to others if need be.")
    if "direct" in index:
        console.print(
            "direct: the gateways' own port, the same without HAProxy; a small model has several "
            "times the throughput."
        )
    console.print("\nTry it:", style="bold")
    console.out(
        f"curl -s -X POST {index.get('direct', url)}/v2/models/{model}/infer -d @{request}",
        highlight=False,
    )
    console.print("\nCtrl-C stops it.")


def _places(url: str, index: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: value for name, value in index.items() if isinstance(value, str)}
    return {
        name: url + value if value.startswith("/") else value
        for name, value in texts.items()
        if value.startswith("/") or "://" in value
    }


def _variants(config: AppConfig, served: Iterable[str], table: Mapping[str, Any]) -> Table:
    placements = {variant.name: variant.placement for variant in config.variants}
    weights = table.get("weights", {})
    shadow = (table.get("shadow") or {}).get("variant")
    store = ModelStore(config.store)
    grid = Table(title=f"{config.model} from {config.store}", title_justify="left")
    names = ("variant", "placement", "precision", "kB", "parameters", "AP kept", "gate", "weight")
    for name in names:
        grid.add_column(
            name, justify="left" if name in ("variant", "gate") else "right", no_wrap=True
        )
    for name in served:
        weight = f"{weights.get(name, 0.0):.0%}" + (" shadow" if name == shadow else "")
        # What was loaded at run time is inline.
        placement = placements.get(name, "inline")
        try:
            manifest = store.manifest(config.model, name)
        except StoreError:
            grid.add_row(name, placement, "–", "–", "–", "–", "not in the store", weight)
            continue
        grid.add_row(
            name, placement, manifest.runtime.precision, f"{manifest.bytes / 1000:,.0f}",
            f"{manifest.parameters:,}", _kept(manifest), manifest.gate.verdict, weight,
        )  # fmt: skip
    return grid


def _kept(manifest: Manifest) -> str:
    """Share of the original's average precision."""
    ratio = manifest.quality.ratios_to_original.get("average_precision")
    return "–" if ratio is None else f"{ratio.value:.1%}"


def _short(path: Path) -> Path:
    """Relative to here where it is below, so that the line to paste stays short."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path.resolve()
