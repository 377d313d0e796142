"""`lqmf docs`: the model card and the Modelfile of an artifact, written again; or the reference of LQMF itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.errors import UsageError
from lqmf.operations import docs
from lqmf.operations.result import Result
from lqmf.records import Decision, Request

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.app import App
    from lqmf.understanding.answers import Ask

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


@dataclass(frozen=True)
class Referenced(Result):
    """The files of LQMF's own reference."""

    files: tuple[Path, ...]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "files"}`."""
        return {"status": "done", "files": [str(path) for path in self.files]}


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


async def run(app: App, request: Request, ask: Ask) -> docs.Written | Referenced:
    """Write an artifact's documents; with --project those of the command line itself, which only it knows."""
    if not request.project:
        return await docs.run(app, request, ask)
    from lqmf import workspace
    from lqmf.cli import reference

    folder = Path(request.out or REFERENCE).expanduser().absolute()
    pages = reference.pages(app.backends())
    for name, text in pages.items():
        workspace.write_text(folder / name, text)
    return Referenced(tuple(folder / name for name in pages))


def view(written: docs.Written | Referenced) -> RenderableType:
    """The files, a line each."""
    from rich.console import Group

    from lqmf.cli.views.messages import Unfolded, done_view

    return Unfolded(Group(*(done_view(f"Wrote {path}") for path in written.files)))
