"""Loads plug-ins that other packages add by entry points. Each load is guarded: a broken plug-in is reported once, by
name, and affects nothing else. Knows no group."""

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
    """Return the entry points of `group` by name, without importing them."""
    return {point.name: point for point in importlib.metadata.entry_points(group=group)}


def load(group: str, name: str, read: Callable[[Any], T]) -> T | None:
    """Return what `read` returns for the object behind the entry point `name`; None if there is no such entry point, or
    if it is broken.

    Any error that the plug-in raises while it is imported or read is kept for `untold`.
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
    """Return why the plug-in `name` of `group` is left out; None if it is not left out."""
    return _faults.get((group, name))


def check_words(name: str, words: str) -> None:
    """Raise ValueError if `name` is not of small letters, digits and _, or if the pattern `words` is empty, captures
    groups or matches an empty text; re.error if `words` is no pattern."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"its name '{name}' is not of small letters, digits and _")
    if not words or re.compile(words).groups or re.fullmatch(words, ""):
        raise ValueError("its words are empty, or a pattern that captures groups or matches nothing at all")


def untold() -> list[str]:
    """Return a sentence for each broken plug-in that was not reported yet; it then counts as reported."""
    new = [sentence for sentence in dict.fromkeys(_faults.values()) if sentence not in _told]
    _told.update(new)
    return new
