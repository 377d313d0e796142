"""How artifacts look: one just made, a list of them, one that was verified, what one went on to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from lqmf.cli.views.messages import Unfolded, done_view, error_view, notice_view
from lqmf.cli.views.receipts import receipt_view
from lqmf.cli.views.tables import facts, small, table, when
from lqmf.records import Artifact
from lqmf.terminal import clean
from lqmf.units import file_size


def made_view(artifacts: Sequence[Artifact]) -> RenderableType:
    """What a job made: where it lies, how good it is, and what can be done next."""
    parts: list[RenderableType] = []
    for artifact in artifacts:
        parts += [done_view(f"Made {artifact.name}"), Unfolded(facts([("  in", artifact.path)]))]
        if artifact.receipt and artifact.receipt.get("checks"):
            parts.append(receipt_view(artifact, artifact.receipt))
        else:
            parts.append(facts([("  size", _size(artifact))]))
    newest = artifacts[-1].name if artifacts else ""
    following = f"Next: `test {newest} --comprehensive`, `show {newest}`, `compare` with another."
    parts.append(Unfolded(notice_view(following)))
    return Group(*parts)


def _size(artifact: Artifact) -> str:
    ratio = f", {artifact.compression_ratio:.2f} times smaller" if artifact.compression_ratio else ""
    return file_size(artifact.size_bytes) + ratio


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
        kind = artifact.type or f"{artifact.method} {artifact.bits} bit"
        rows.add_row(name, kind, file_size(artifact.size_bytes), small(kl.get("mean")), when(artifact.created_at))
    return rows


def verified_view(name: str, files: Sequence[Mapping[str, Any]], unlisted: Sequence[str]) -> RenderableType:
    """Which files are as the manifest says, and which are not."""
    wrong = [file for file in files if file["problem"]]
    parts: list[RenderableType] = [error_view(f"{file['path']} {file['problem']}.") for file in wrong]
    parts += [notice_view(f"{path} is not in the manifest.", warning=True) for path in unlisted]
    if wrong:
        parts.append(
            error_view(f"{len(wrong)} of {len(files)} files of {name} are not as they were made.", "Quantize it again.")
        )
    else:
        parts.append(done_view(f"All {len(files)} files of {name} are as they were made."))
    return Group(*parts)


def continued_view(prompt: str, text: str) -> RenderableType:
    """A sentence, and how the model went on."""
    went_on = Text.assemble((clean(prompt), "cyan"), " ", " ".join(clean(text).split()), " ..")
    return Group(Text("Asked to go on with a sentence:"), Padding(went_on, (0, 0, 0, 2)))
