"""Which module of this project imports which, at whatever depth of its code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "apcodec_deploy": ROOT / "apcodec_deploy",
    "apcodec_export": ROOT / "export" / "apcodec_export",
    "apcodec_engines": ROOT / "engines" / "apcodec_engines",
    "apcodec_serving": ROOT / "serving" / "apcodec_serving",
    "apcodec_benchmarks": ROOT / "benchmarks" / "apcodec_benchmarks",
    "apcodec_training": ROOT / "training" / "apcodec_training",
}


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name; a package's name stands for its ``__init__``."""
    found = {}
    for package, directory in PACKAGES.items():
        for path in directory.rglob("*.py"):
            parts = (package, *path.relative_to(directory).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def import_graph() -> dict[str, set[str]]:
    """The modules of this project that each module imports."""
    known = modules()
    return {name: {found for found in _imported(path) if found in known} - {name} for name, path in known.items()}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else str(node.module)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A way through a graph that comes back to where it began; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for other in sorted(graph.get(name, ())):
                if found := walk(other, (*way, name)):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, ()))), [])
