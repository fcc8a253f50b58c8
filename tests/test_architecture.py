"""Who may import whom, held over the source of all packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import cycles, import_graph, sources

ROOT = Path(__file__).parents[1]
PACKAGES = ("compression", "serve_app", "loadtest")
COMPRESS_EXTRA = {
    "torch",
    "onnx",
    "onnxscript",
    "torch_pruning",
    "safetensors",
    "sklearn",
    "skl2onnx",
    "scipy",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "zstandard",
}
UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
OPENS_PROGRAMS = {"compression.artifacts", "serve_app.runners.program"}
"""Both check the file before."""

GRAPH = import_graph(ROOT, PACKAGES)
SOURCES = sources(ROOT, PACKAGES)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _offending(
    importers: str, forbidden: set[str], *, but: frozenset[str] = frozenset()
) -> set[str]:
    """`importer → imported` for modules of a package that import what they must not."""
    return {
        f"{module} → {name}"
        for module, names in GRAPH.items()
        if _within(module, importers) and module not in but
        for name in names
        if _top(name) in forbidden
    }


def test_the_graph_is_not_empty() -> None:
    for package in PACKAGES:
        assert sum(_within(module, package) for module in GRAPH) > 5
    assert "torch" in GRAPH["compression.artifacts"]
    assert "ray" in GRAPH["serve_app.application"]


def test_compression_knows_neither_ray_nor_its_neighbours() -> None:
    assert _offending("compression", {"ray", "serve_app", "loadtest"}) == set()


def test_the_store_stands_on_its_own() -> None:
    assert (
        _offending("compression.store", COMPRESS_EXTRA | {"onnxruntime", "rich", "yaml"}) == set()
    )
    for module, names in GRAPH.items():
        if _within(module, "compression.store"):
            ours = {name for name in names if _top(name) == "compression"}
            assert all(_within(name, "compression.store") for name in ours), module


def test_serving_knows_of_compression_only_the_store() -> None:
    for module, names in GRAPH.items():
        if _within(module, "serve_app"):
            ours = {name for name in names if _top(name) == "compression"} - {"compression"}
            assert all(_within(name, "compression.store") for name in ours), module


def test_serving_needs_no_torch_but_for_torch_programs() -> None:
    program = frozenset({"serve_app.runners.program"})
    assert _offending("serve_app", COMPRESS_EXTRA, but=program) == set()
    assert _offending("serve_app.runners.program", COMPRESS_EXTRA - {"torch"}) == set()
    assert _offending("serve_app", {"loadtest", "locust"}) == set()


def test_load_tests_know_neither_of_the_two() -> None:
    assert _offending("loadtest", {"compression", "serve_app"}) == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    assert cycles(GRAPH) == []


@pytest.mark.parametrize("module", ["compression.store", "compression.store.archive"])
def test_the_store_imports_without_torch_and_onnx(module: str) -> None:
    code = (
        f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"torch", "onnx", "onnxruntime", "ray", "sklearn", "safetensors"})


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_nothing_unpickles(module: str) -> None:
    assert {_top(name) for name in GRAPH[module]}.isdisjoint(UNPICKLERS)
    for call in (node for node in ast.walk(SOURCES[module]) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        where = f"{module}:{call.lineno}: {function}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert function not in {"torch.load", "yaml.load", "yaml.unsafe_load"}, where
        assert options.get("weights_only", "True") == "True", where
        assert options.get("allow_pickle", "False") == "False", where
        if function in {"np.load", "numpy.load"}:
            assert "allow_pickle" in options, f"{where} must say allow_pickle=False"
        if function in {"torch.export.load", "export.load"}:
            assert module in OPENS_PROGRAMS, where


def _package(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_imports_are_found_wherever_they_hide(tmp_path: Path) -> None:
    root = _package(
        tmp_path,
        {
            "app/__init__.py": "from .sub import thing",
            "app/sub/__init__.py": "from . import leaf",
            "app/sub/leaf.py": "from ..other import name\nfrom ..sub import elsewhere",
            "app/other.py": (
                "import importlib\n"
                "def f():\n    import torch.nn\n"
                "if 0:\n    from app.sub import leaf\n"
                "m = importlib.import_module('ray.serve')\n"
            ),
        },
    )
    assert import_graph(root, ("app",)) == {
        "app": {"app.sub"},
        "app.sub": {"app.sub.leaf"},
        "app.sub.leaf": {"app.other", "app.sub"},
        "app.other": {
            "importlib",
            "torch.nn",
            "torch",
            "app.sub",
            "app.sub.leaf",
            "ray.serve",
            "ray",
        },
    }


def test_circles_are_found() -> None:
    graph = {
        "a": {"b", "numpy"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}, "f": {"a", "d"},
    }  # fmt: skip
    assert sorted(cycles(graph)) == [["b", "c"], ["e"]]
