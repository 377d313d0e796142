"""How artifacts look: one just made, a list of them, what one went on to say."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from lqmf.cli.views.messages import Copied, Unfolded, done_view, notice_view
from lqmf.cli.views.receipts import brief
from lqmf.cli.views.tables import facts, table, when
from lqmf.operations import gating
from lqmf.records import Artifact, Feedback
from lqmf.terminal import clean
from lqmf.units import file_size, small


def made_view(artifacts: Sequence[Artifact], feedback: Feedback, chats: Sequence[Sequence[str]] = ()) -> RenderableType:
    """What a job made: where it lies, how good it is in a few lines, the lines that chat with it, what there is to say
    of it, and what has more."""
    parts: list[RenderableType] = []
    for artifact, lines in zip(artifacts, chats or [()] * len(artifacts), strict=True):
        how = "with llama.cpp or Ollama, here or elsewhere:" if lines else "as README.md in its folder says"
        rows = facts([("in", artifact.path), *brief(artifact), ("run", how)])
        parts += [done_view(f"Made {artifact.name}"), Unfolded(Padding(rows, (0, 0, 0, 2))), *map(Copied, lines)]
    parts += feedback_lines(feedback)
    newest = artifacts[-1].name if artifacts else ""
    more = f"`show {newest}` has every figure; `test {newest} --comprehensive` measures more."
    parts.append(Unfolded(notice_view(more)))
    return Group(*parts)


def feedback_lines(feedback: Feedback) -> list[RenderableType]:
    """What came of a job, a line for each artifact's sentences; nothing where there is nothing to say."""
    return [notice_view(clean(" ".join(feedback.sentences)))] if feedback.sentences else []


def artifacts_view(artifacts: Sequence[Artifact]) -> RenderableType:
    """What can be tested."""
    if not artifacts:
        return notice_view("There is nothing yet. `quantize demo` makes a first one.")
    rows = table("name", "type", "size", "KL", "made", right=("size", "KL"), keep=("type", "size", "KL", "made"))
    for artifact in artifacts:
        kl = (artifact.receipt or {}).get("kl_divergence") or {}
        name = Text(clean(artifact.name), style="bold")
        if artifact.foreign:
            name.append(" (not made by LQMF)", style="dim")
        if gating.passed(artifact.receipt) is False:
            name.append(" (gate failed)", style="yellow")
        kind = artifact.type or f"{artifact.method} {artifact.bits} bit"
        rows.add_row(name, kind, file_size(artifact.size_bytes), small(kl.get("mean")), when(artifact.created_at))
    return rows


def continued_view(prompt: str, text: str) -> RenderableType:
    """A sentence, and how the model went on."""
    went_on = Text.assemble((clean(prompt), "cyan"), " ", " ".join(clean(text).split()), " ..")
    return Group(Text("Asked to go on with a sentence:"), Padding(went_on, (0, 0, 0, 2)))
