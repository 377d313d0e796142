"""`lqmf verify`: does every file of an artifact still have the hash that its manifest says?"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import events, workspace
from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import NotFound
from lqmf.records import Artifact, Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "verify",
    "check every file's hash against the manifest",
    intents=("verify",),
    examples=("lqmf verify demo_gguf_4bit_Q4_K_M", "lqmf verify Q4_K_M --json"),
    order=100,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(name: options.RequiredName) -> Decision:
    """Read every file of the artifact NAME and compare its SHA-256 with the manifest's. Exit 1 when one differs."""
    return options.typed("verify", name=name)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Check what is named; without a name, the newest."""
    from lqmf.cli.views.artifacts import verified_view

    artifact = app.pipeline.find(decision.slots.get("name"))
    files = await asyncio.to_thread(check, artifact, app.bus.publish)
    extra = unlisted(Path(artifact.path), files)
    sound = all(file["problem"] is None for file in files)
    data = {"status": "ok" if sound else "failed", "artifact": artifact.name, "files": files, "unlisted": extra}
    return Outcome(data, verified_view(artifact.name, files, extra), exit_code=0 if sound else 1)


def check(artifact: Artifact, emit: events.Emit) -> list[dict[str, Any]]:
    """`[{"path", "problem"}]` for each file of the manifest; `problem` is None where the hash agrees."""
    folder, started = Path(artifact.path), time.monotonic()
    if artifact.foreign:
        raise NotFound(f"{artifact.name} has no manifest: LQMF did not make it.", "`lqmf list` shows what LQMF made.")
    entries = workspace.read_json(folder / workspace.MANIFEST)["files"]
    total, done = sum(entry["size_bytes"] for entry in entries), 0
    emit(events.StageStarted(stage="verify", title=f"Reading {artifact.name}"))
    found = []
    for entry in entries:
        found.append({"path": entry["path"], "problem": _problem(folder, entry)})
        done += entry["size_bytes"]
        emit(events.Progress(stage="verify", done=done, total=total, unit="bytes"))
    emit(events.StageFinished(stage="verify", seconds=time.monotonic() - started))
    return found


def _problem(folder: Path, entry: dict[str, Any]) -> str | None:
    file = folder / entry["path"]
    if folder.resolve() not in file.resolve().parents:
        return "lies outside the artifact"
    if not file.is_file():
        return "is missing"
    if (size := file.stat().st_size) != entry["size_bytes"]:
        return f"has {size} bytes instead of {entry['size_bytes']}"
    if workspace.sha256(file) != entry["sha256"]:
        return "has other contents: its SHA-256 differs"
    return None


def unlisted(folder: Path, files: list[dict[str, Any]]) -> list[str]:
    """Files in the folder that the manifest does not name."""
    named = {file["path"] for file in files} | {workspace.MANIFEST}
    present = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in present if path not in named)
