"""Writes an artifact's documents again from what its folder holds: the model card, and of a GGUF the Modelfile.

Knows files; what is in them is the DocumentationAgent's and `modelfile`'s to say.
"""

from __future__ import annotations

import re
from pathlib import Path

from lqmf import workspace
from lqmf.artifacts import shelf
from lqmf.artifacts.card import modelfile, prose
from lqmf.artifacts.card.model_card import model_card
from lqmf.artifacts.card.prose import Prose
from lqmf.errors import UsageError
from lqmf.records import Artifact, Manifest

_OURS = re.compile(r'---\n(?:(?!---\n).*\n)*?quantized_by: "?LQMF"?\n')  # a card's header
_OUR_COMMENTS = tuple(f"# {note.partition('{')[0]}" for note in (modelfile.WITH_TEMPLATE, modelfile.WITHOUT))


def own_prose(artifact: Artifact) -> Prose:
    """The sentences of an artifact's card, as its records make them. Raises UsageError for one that has none."""
    return prose.written(artifact, _manifest(artifact), artifact.receipt)


def write(
    artifact: Artifact, words: Prose | None = None, out: Path | None = None, *, force: bool = False
) -> list[Path]:
    """Write the card, and the Modelfile if there is to be one, into the artifact's folder, and with `out` there too;
    the paths of what was asked for. `words` stand in the place of the records' sentences. Raises UsageError for an
    artifact without records and, without `force`, where in `out` something else lies under these names; ModelError or
    NotFound for weights that cannot be read."""
    folder, manifest = Path(artifact.path), _manifest(artifact)
    texts = {workspace.CARD: model_card(artifact, manifest, artifact.receipt, words=words)}
    if (text := modelfile.of_artifact(folder, manifest)) is not None:
        texts[workspace.MODELFILE] = text
    if out is not None and out != folder and not force:
        _refuse_theirs([out / name for name in texts])
    workspace.rewrite_mutable(folder, texts)
    if out is not None and out != folder:
        for name, text in texts.items():
            workspace.write_text(out / name, text)
    return [(out or folder) / name for name in texts]


def _refuse_theirs(paths: list[Path]) -> None:
    """Raises UsageError for the first file that is there and that LQMF did not write."""
    for path in paths:
        if path.exists() and not (path.is_file() and _is_ours(path)):
            remedy = "Choose another `--out`, or say `--force` to overwrite it."
            raise UsageError(f"{path} was not written by LQMF.", remedy)


def _is_ours(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.startswith(_OUR_COMMENTS) if path.name == workspace.MODELFILE else _OURS.match(text) is not None


def _manifest(artifact: Artifact) -> Manifest:
    """Raises UsageError for what was not made here."""
    if artifact.foreign:
        raise UsageError(
            f"{artifact.name} was not made by LQMF: there are no records to write a card from.",
            f"`lqmf test {artifact.name}` measures it.",
        )
    return shelf.manifest(Path(artifact.path))
