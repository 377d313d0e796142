"""`lqmf docs`: the model card and the Modelfile of an artifact, written again; or the reference of LQMF itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import UsageError
from lqmf.records import Artifact, Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.artifacts.card.prose import Prose

COMMAND = Command(
    "docs",
    "write an artifact's model card and Modelfile again",
    intents=("docs",),
    examples=(
        "lqmf docs demo_gguf_4bit_Q4_K_M",
        "lqmf docs demo_gguf_4bit_Q4_K_M --out ./to-publish",
        "lqmf docs demo_gguf_4bit_Q4_K_M --prose",
        "lqmf docs --project",
    ),
    order=85,
    panel="Records",
)
REFERENCE = Path("docs") / "reference"


def cli(
    name: options.Name = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="A folder for copies; it is made if need be.")
    ] = None,
    prose: Annotated[
        bool, typer.Option("--prose", help="Let the LLM provider word the sentences; figures stay the records'.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files in DIR that LQMF did not write.")] = False,
    project: Annotated[
        bool, typer.Option("--project", help="Write the reference of commands, settings and methods instead.")
    ] = False,
) -> Decision:
    """Write README.md (in the Hugging Face Hub's format) and, for a GGUF, Ollama's Modelfile of the artifact NAME from
    its records: the newest artifact's if left out."""
    if project and (name or prose):
        raise UsageError("--project documents LQMF itself.", "Leave NAME and --prose out, or --project.")
    given = {"prose": prose, "force": force, "project": project}
    return options.typed("docs", name=name, out=out, **{option: True for option, on in given.items() if on})


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Write what is asked for, and say where it lies."""
    from lqmf.artifacts.card import writing

    slots = decision.slots
    out = Path(slots["out"]).expanduser().absolute() if slots.get("out") else None
    if slots.get("project"):
        return _reference(app, out or Path.cwd() / REFERENCE)
    artifacts = [app.pipeline.find(name) for name in slots.get("names") or (slots.get("name") or slots.get("model"),)]
    if out is not None and len(artifacts) > 1:
        raise UsageError(f"In {out} they would overwrite one another.", "Name one artifact for each `--out`.")
    words = await _worded(app, artifacts[0]) if slots.get("prose") else None
    force = bool(slots.get("force"))
    written = [path for artifact in artifacts for path in writing.write(artifact, words, out, force=force)]
    data = {"artifact": artifacts[0].name, "files": [str(path) for path in written], "prose": _who(words)}
    return Outcome({"status": "done", **data}, _written(written))


def _written(files: list[Path]) -> Any:
    from rich.console import Group

    from lqmf.cli.views.messages import Unfolded, done_view

    return Unfolded(Group(*(done_view(f"Wrote {path}") for path in files)))


def _who(words: Prose | None) -> str:
    return "records" if words is None else "provider"


def _reference(app: App, folder: Path) -> Outcome:
    from lqmf import workspace
    from lqmf.cli import reference

    pages = reference.pages(app.backends())
    for name, text in pages.items():
        workspace.write_text(folder / name, text)
    files = [folder / name for name in pages]
    return Outcome({"status": "done", "files": [str(path) for path in files]}, _written(files))


async def _worded(app: App, artifact: Artifact) -> Prose | None:
    """The card's sentences in a provider's words; None, and why is told, where its words may not stand or none
    answers. Raises UsageError without a provider."""
    from lqmf.agents import rewording
    from lqmf.artifacts.card import writing
    from lqmf.errors import ProviderError
    from lqmf.events import Notice

    if app.llm is None:
        raise UsageError(
            "--prose needs an LLM provider, and none is set.", "`lqmf llm switch claude`, or leave it out."
        )
    own = writing.own_prose(artifact)
    try:
        return await rewording.reworded(app.llm, own)
    except (ProviderError, ValueError) as error:
        why = error.message if isinstance(error, ProviderError) else f"The provider's wording was left out: {error}."
        app.bus.publish(Notice(text=app.redact(f"{why} The records' own sentences stand."), level="warning"))
        return None
