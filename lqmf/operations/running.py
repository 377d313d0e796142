"""How an artifact is run in other programs: lines to copy, from its manifest."""

from __future__ import annotations

import shlex
from pathlib import Path

from lqmf import workspace
from lqmf.artifacts import run_lines, shelf
from lqmf.records import InvalidRecord, Run


def as_planned(folder: Path, name: str) -> dict[str, str] | None:
    """Return the lines that run an artifact elsewhere as it was planned for, by program; None for a file without a
    manifest, and for what no plan says how to run."""
    if (found := _settings(folder)) is None:
        return None
    run, file = found
    modelfile = folder / workspace.MODELFILE
    lines = run_lines.ready(name, run, str(folder / file), str(modelfile))
    write = "" if modelfile.is_file() else f"{shlex.join(['lqmf', 'docs', name])}\n"  # it was made before there was one
    return {**lines, "ollama": write + lines["ollama"]}


def at_once(folder: Path, name: str) -> tuple[str, ...]:
    """Return lines, one a program, that chat with an artifact; none for what no plan says how to run."""
    if (found := _settings(folder)) is None:
        return ()
    run, file = found
    return run_lines.chat(name, run.context, str(folder / file), str(folder / workspace.MODELFILE))


def _settings(folder: Path) -> tuple[Run, str] | None:
    if not (folder / workspace.MANIFEST).is_file():
        return None
    try:
        return run_lines.of_manifest(shelf.manifest(folder))
    except InvalidRecord:
        return None
