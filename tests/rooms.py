"""The rooms of `lqmf/` and the arrows between them, read from the code: lazy and TYPE_CHECKING imports count too.

A room is a folder, or a module at the top. ROWS says which may import which: a room imports only rooms that stand in a
row below it, or to the left of it in its own. `python -m tests.rooms` draws the picture in CONTRIBUTING.md anew.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = (
    (
        "version",
        "assets",
        "records",
        "errors",
        "units",
        "terminal",
        "events",
        "retry",
        "workspace",
        "declared",
        "settings",
    ),
    ("child_process", "forks", "hardware", "installed"),
    ("model_files", "ggml", "hub"),
    ("engines", "texts", "fit"),
    ("quantization", "quality"),
    ("planning", "understanding"),
    ("store", "jobs", "artifacts"),
    ("providers", "advice", "knowledge", "report", "plugin"),
    ("agents", "pipeline", "app"),
    ("operations",),
    ("cli",),
    ("lqmf", "__main__", "utils"),
)
ORDER = tuple(room for row in ROWS for room in row)
BEGIN, END = "<!-- rooms: python -m tests.rooms -->\n", "<!-- end of rooms -->\n"
Graph = Mapping[str, set[str]]


@cache
def modules() -> dict[str, Path]:
    """Return each module of LQMF by its dotted name."""
    found = {}
    for path in sorted((ROOT / "lqmf").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def files() -> Graph:
    """Return the modules that each module imports, wherever in it the import stands."""
    return {name: set(_imports(path)) - {name} for name, path in modules().items()}


def rooms() -> Graph:
    """Return the rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for name, imported in files().items():
        found.setdefault(room(name), set()).update(room(other) for other in imported)
    return {name: imported - {name} for name, imported in found.items()}


def room(module: str) -> str:
    """Return the room of a module."""
    return module.split(".")[1] if "." in module else module


def circle(graph: Graph) -> list[str]:
    """Return one circle of `graph`, empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward() -> list[str]:
    """Return each import that goes from a room to one that stands above it: "module -> module"."""
    height = {name: place for place, name in enumerate(ORDER)}
    return [
        f"{name} -> {other}"
        for name, imported in files().items()
        for other in sorted(imported)
        if height[room(name)] < height[room(other)]
    ]


def picture() -> str:
    """Return the rooms as a table in Markdown, the highest row first, each with what it is and what it imports."""
    lines = ["| room | what it is | imports |", "|---|---|---|"]
    graph = rooms()
    for name in (name for row in reversed(ROWS) for name in row if _is_folder(name)):
        imported = sorted(filter(_is_folder, graph[name]), key=ORDER.index)
        lines.append(f"| `{name}/` | {_about(name)} | {', '.join(imported) or '-'} |")
    return "\n".join(lines) + "\n"


def drawn() -> str:
    """Return CONTRIBUTING.md with the picture as it is now."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return before + BEGIN + picture() + END + rest.split(END)[1]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from _known(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from _known([inner if inner in modules() else node.module])


def _known(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if name in modules())


def _is_folder(room: str) -> bool:
    path = modules().get(f"lqmf.{room}")
    return path is not None and path.name == "__init__.py"


def _about(room: str) -> str:
    said = ast.get_docstring(ast.parse(modules()[f"lqmf.{room}"].read_bytes())) or ""
    return " ".join(said.split("\n\n")[0].split())


if __name__ == "__main__":
    (ROOT / "CONTRIBUTING.md").write_text(drawn(), encoding="utf-8")
    sys.exit(bool(circle(rooms()) or upward()))
