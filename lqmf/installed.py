"""Facts about an installed package, read without importing it: whether it is there, its version, its tables.

Heavy libraries list what they know in plain dictionaries of their source; those are read as syntax, which takes
milliseconds where an import takes seconds. Knows no model.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from lqmf.records import Verdict


def verdict(modules: Mapping[str, str], install: str) -> Verdict:
    """Return yes, with the versions, where all of `modules` (module: package) can be imported; else no, with the
    command `install` as remedy."""
    missing = [package for module, package in modules.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return Verdict("yes", ", ".join(f"{name} {number}" for name, number in versions(modules.values()).items()))
    verb = "is" if len(missing) == 1 else "are"
    remedy = f"Run `{install}`, or take a method that is there: `--method gguf`."
    return Verdict("no", f"{' and '.join(missing)} {verb} not installed.", remedy)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of `packages` that are installed, by package."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


@cache
def table(package: str, file: str, name: str) -> Mapping[str, frozenset[str]]:
    """Return the dictionary `name` in `file` of `package`: its keys, each with the words that its value holds (a
    string's, a tuple's, or a class's name). Empty where there is no such package or table; computed entries are left
    out."""
    spec = importlib.util.find_spec(package)
    source = Path(spec.origin).parent / file if spec and spec.origin else None
    if source is None or not source.is_file():
        return {}
    found: dict[str, frozenset[str]] = {}
    for node in ast.parse(source.read_bytes()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(_name, _targets(node)):
            found |= _entries(node.value)
    return found


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _entries(node: ast.expr | None) -> dict[str, frozenset[str]]:
    """Return the pairs of a dictionary display, or of a list of pairs handed to a call."""
    if isinstance(node, ast.Call):
        return {key: value for argument in node.args for key, value in _entries(argument).items()}
    if isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.List | ast.Tuple):
        pairs = [(one.elts[0], one.elts[1]) for one in node.elts if isinstance(one, ast.Tuple) and len(one.elts) == 2]
    else:
        return {}
    return {str(key.value): _words(value) for key, value in pairs if isinstance(key, ast.Constant)}


def _words(node: ast.expr) -> frozenset[str]:
    found = (one.value if isinstance(one, ast.Constant) else _name(one) for one in ast.walk(node) if _is_word(one))
    return frozenset(str(word) for word in found)


def _is_word(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
