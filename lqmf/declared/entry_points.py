"""Loads what other packages add by entry points, each load guarded: a broken plug-in is told once, by name, and hurts
nothing else. Knows no group."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_faults: dict[tuple[str, str], str] = {}  # (group, name) -> what to tell of a broken plug-in
_told: set[str] = set()


@cache
def points(group: str) -> Mapping[str, importlib.metadata.EntryPoint]:
    """Return the entry points of `group` by name; imports none of them."""
    return {point.name: point for point in importlib.metadata.entry_points(group=group)}


def load(group: str, name: str, read: Callable[[Any], T]) -> T | None:
    """Return what `read` makes of the object behind the entry point `name`; None where there is none, or it is broken.

    Whatever the plug-in raises while it is imported or read is kept for `untold`.
    """
    if name not in points(group) or (group, name) in _faults:
        return None
    try:
        return read(points(group)[name].load())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's code: it may raise anything
        found = points(group)[name].dist
        package = found.metadata["Name"] if found else points(group)[name].value
        _faults[group, name] = (
            f"The plug-in '{name}' of the package {package} is left out: {type(error).__name__}: {error}. "
            f"`pip uninstall {package}` removes it."
        )
        return None


def fault(group: str, name: str) -> str | None:
    """Return why the plug-in `name` of `group` is left out; None where it is not."""
    return _faults.get((group, name))


def check_words(name: str, words: str) -> None:
    """Refuse what no sentence can be searched for. Raises ValueError, re.error."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"its name '{name}' is not of small letters, digits and _")
    if not words or re.compile(words).groups or re.fullmatch(words, ""):
        raise ValueError("its words are empty, or a pattern that captures groups or matches nothing at all")


def untold() -> list[str]:
    """Return what has not been told yet of broken plug-ins, a sentence each; it counts as told now."""
    new = [sentence for sentence in dict.fromkeys(_faults.values()) if sentence not in _told]
    _told.update(new)
    return new
