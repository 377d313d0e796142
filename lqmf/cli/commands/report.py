"""`lqmf report`: one HTML page on artifacts, with charts and tables, that works offline.

With --layers it first measures which tensors lose how much, where that is not known.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lqmf import workspace
from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import JobCancelled, LqmfError, NotFound, UsageError
from lqmf.events import Notice
from lqmf.records import Artifact, Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "report",
    "an HTML page with charts of artifacts, offline",
    intents=("report",),
    examples=("lqmf report", "lqmf report Q4_K_M Q8_0 --out report.html", "lqmf report Q4_K_M --layers --json"),
    order=57,
    names_artifacts=True,
)
OUT = "report.html"


def cli(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Artifacts: names or parts of them; all of them if left out.",
            autocompletion=options.artifact_names,
        ),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help=f"Where to write it: {OUT} here.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Measure first what each layer's tensors lose, where that is not known.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is no report of LQMF's.")] = False,
) -> Decision:
    """Write a page that needs nothing else: size against loss, speed, memory, layers, history and predictions."""
    return options.typed("report", names=names or None, out=out, layers=layers or None, force=force or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The page on what is named; without names, on all artifacts, the newest first."""
    from lqmf.cli.views.messages import Unfolded, done_view
    from lqmf.report.report import report

    artifacts = named(app, decision)
    path = writable(Path(decision.slots.get("out") or OUT).expanduser().absolute(), bool(decision.slots.get("force")))
    measured = await _layers(app, artifacts) if decision.slots.get("layers") else []
    models = {artifact.model for artifact in artifacts}
    earlier = [row for row in app.memory.list_records(status="ok", deleted=True) if row["model"] in models]
    text = await asyncio.to_thread(report, artifacts, app.workspace.benchmarks, earlier, app.hardware())
    workspace.write_text(path, text)
    names = [artifact.name for artifact in artifacts]
    size = path.stat().st_size
    data = {"status": "ok", "path": str(path), "size_bytes": size, "artifacts": names, "measured": measured}
    return Outcome(data, Unfolded(done_view(f"Wrote {path}, on {_count(names)}: open it in a browser.")))


def named(app: App, decision: Decision) -> list[Artifact]:
    """The artifacts that are meant, each once. Raises NotFound, AmbiguousName."""
    slots = decision.slots
    names = list(slots.get("names") or ([slots["name"]] if slots.get("name") else []))
    found = [app.pipeline.find(name) for name in names] if names else app.pipeline.artifacts()
    if not found:
        raise NotFound("There is no artifact yet to report on.", "`lqmf quantize demo` makes one.")
    return list({artifact.path: artifact for artifact in found}.values())


def writable(path: Path, force: bool) -> Path:
    """`path`, if the page may be written there. Raises UsageError for a folder, and without `force` for a file that is
    something else."""
    from lqmf.report.page import is_ours

    if path.is_dir():
        raise UsageError(f"{path} is a folder.", f"Name a file: `--out {path / OUT}`.")
    if path.exists() and not force and not (path.is_file() and is_ours(path)):
        raise UsageError(f"{path} is no report of LQMF's.", "Choose another `--out`, or say `--force` to overwrite it.")
    return path


async def _layers(app: App, artifacts: list[Artifact]) -> list[str]:
    """Measure by layer what was not yet; names of what was measured now. What cannot be is told of, and left."""
    from lqmf.report.subjects import subjects

    names = []
    for subject in subjects(artifacts, app.workspace.benchmarks):
        if subject.layers is not None:
            continue
        try:
            await app.pipeline.measure_layers(subject.artifact)
        except LqmfError as error:
            if isinstance(error, JobCancelled):
                raise
            app.bus.publish(Notice(text=f"{subject.name} is not measured by layer: {error.message}", level="warning"))
            continue
        names.append(subject.artifact.name)
    return names


def _count(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} artifacts"
