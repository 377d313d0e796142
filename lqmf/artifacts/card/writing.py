"""Writes an artifact's documents again from its folder: the model card, and the Modelfile of a GGUF.

Knows files; their contents come from the DocumentationAgent and `modelfile`.
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
    """Return the sentences of an artifact's card, as its records make them. Raises UsageError for an artifact without
    records."""
    return prose.written(artifact, _manifest(artifact), artifact.receipt)


def write(
    artifact: Artifact, words: Prose | None = None, out: Path | None = None, *, force: bool = False
) -> list[Path]:
    """Write the card, and the Modelfile of a GGUF, into the artifact's folder and, if given, into `out`; return their
    paths in `out`, else in the folder. `words` replace the records' sentences. Raises UsageError for an artifact
    without records and, without `force`, for files in `out` that LQMF did not write; ModelError or NotFound for weights
    that cannot be read."""
    folder, manifest = Path(artifact.path), _manifest(artifact)
    texts = {workspace.CARD: model_card(artifact, manifest, artifact.receipt, words=words)}
    if (text := modelfile.of_artifact(folder, manifest)) is not None:
        texts[workspace.MODELFILE] = text
    if out is not None and out != folder and not force:
        _refuse_theirs([out / name for name in texts])
    workspace.rewrite_mutable(folder, texts)
    if out is not None and out != folder:
        if workspace.MODELFILE in texts:
            texts[workspace.MODELFILE] = modelfile.of_artifact(folder, manifest, out) or ""
        for name, text in texts.items():
            workspace.write_text(out / name, text)
    return [(out or folder) / name for name in texts]


def _refuse_theirs(paths: list[Path]) -> None:
    """Raise UsageError for the first file that exists and that LQMF did not write."""
    for path in paths:
        if path.exists() and not (path.is_file() and _is_ours(path)):
            remedy = "Choose another `--out`, or say `--force` to overwrite it."
            raise UsageError(f"{path} was not written by LQMF.", remedy)


def _is_ours(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.startswith(_OUR_COMMENTS) if path.name == workspace.MODELFILE else _OURS.match(text) is not None


def _manifest(artifact: Artifact) -> Manifest:
    """Return the artifact's manifest. Raises UsageError for an artifact that LQMF did not make."""
    if artifact.foreign:
        raise UsageError(
            f"{artifact.name} was not made by LQMF: there are no records to write a card from.",
            f"`lqmf test {artifact.name}` measures it.",
        )
    return shelf.manifest(Path(artifact.path))
