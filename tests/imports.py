"""Reads from source which modules import which, wherever in a module the import stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, set[str]]


def sources(root: Path, packages: tuple[str, ...]) -> dict[str, ast.Module]:
    """Parsed modules of the packages below `root`, by dotted name; a package is its __init__."""
    parsed = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            parsed[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return parsed


def imported(module: str, tree: ast.Module, known: set[str]) -> set[str]:
    """Dotted names that the module imports, lazily or not, submodules told from attributes.

    Importing `a.b` from outside of `a` also runs `a`, so `a` is among them.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        names.update(_names(module, node, known))
    parents = {parent for name in names for parent in _parents(name) if not _inside(module, parent)}
    return names | parents


def _names(module: str, node: ast.AST, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = _absolute(module, node, known)
        for alias in node.names:
            submodule = f"{source}.{alias.name}"
            yield submodule if submodule in known else source
    elif isinstance(node, ast.Call) and _called(node.func) in {"import_module", "__import__"}:
        for argument in node.args[:1]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _absolute(module: str, node: ast.ImportFrom, known: set[str]) -> str:
    if not node.level:
        return node.module or ""
    is_package = any(other.startswith(f"{module}.") for other in known)
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def import_graph(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """Module → everything it imports, within the packages and outside of them."""
    parsed = sources(root, packages)
    return {name: imported(name, tree, set(parsed)) for name, tree in parsed.items()}


def cycles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of more than one module, or of one that imports itself.

    Source: Tarjan, "Depth-first search and linear graph algorithms", 1972.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module] & graph.keys()):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            start = stack.index(module)
            component = stack[start:]
            del stack[start:]
            if len(component) > 1 or module in graph[module]:
                found.append(sorted(component))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return found
