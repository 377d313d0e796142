"""`lqmf rebuild`: make an artifact again from its manifest, and say whether the same bytes come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome, to_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.artifacts.rebuild import Rebuilt

COMMAND = Command(
    "rebuild",
    "make an artifact again from its manifest, and compare",
    intents=("rebuild",),
    examples=(
        "lqmf rebuild demo_gguf_4bit_Q4_K_M",
        "lqmf rebuild Q4_K_M --keep --json",
        "lqmf rebuild ./manifest.json",
    ),
    order=105,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_MANIFEST",
            help="An artifact, or a manifest.json.",
            autocompletion=options.artifact_names,
        ),
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Keep what was made, also where it is the same.")] = False,
) -> Decision:
    """Make the artifact NAME again from its stored source, or from the source fetched at the same commit, and compare
    it byte for byte. A manifest whose artifact is not here becomes an artifact. Exit 1 when it differs."""
    return options.typed("rebuild", name=name, keep=keep or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Rebuild what is named; without a name, the newest."""
    from lqmf.cli.views.verified import rebuilt_view

    made = await app.pipeline.rebuild(decision.slots.get("name"), ask, keep=bool(decision.slots.get("keep")))
    return Outcome(document(made), rebuilt_view(made), exit_code=0 if made.same else 1)


def document(made: Rebuilt) -> dict[str, Any]:
    """`{"status": "same"/"differs", "artifact", "job", "kept": the new artifact or null, "files": [{"path", "same"}],
    "differences": [{"file", "tensor", "detail"}], "versions": [{"name", "then", "now"}], "kl_divergence": or null,
    "reason": why null}`."""
    return {
        "status": "same" if made.same else "differs",
        "artifact": made.name,
        "job": made.job,
        "kept": to_json(made.artifact),
        "files": to_json(made.files),
        "differences": to_json(made.differences),
        "versions": to_json(made.versions),
        "kl_divergence": to_json(made.divergence),
        "reason": made.why_none,
    }
