"""Writes the card of a repository that holds several types of one model: one table with a row for each. Pure: records
in, text out. What comes from outside is data here, as in a model card.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lqmf.artifacts.card import prose
from lqmf.artifacts.card.header import header, task
from lqmf.artifacts.card.markdown import fence, plain, table, text
from lqmf.artifacts.card.model_card import introduction, origin
from lqmf.artifacts.card.usage import in_folder
from lqmf.quality.measures import NONE, document, named
from lqmf.records import Artifact, Manifest
from lqmf.units import file_size

COLUMNS = ("size_bytes", "bits_per_weight", "kl_divergence", "top1_agreement")


def repository_card(repository: str, items: Sequence[tuple[Artifact, Manifest]]) -> str:
    """Return README.md of `repository` ("owner/name"), which holds `items`: artifacts of one model by one method."""
    artifact, manifest = items[0]
    receipt = artifact.receipt or {}
    types = [one.type or f"{one.bits} bit" for one, _ in items]
    heads = ("File", "Type", *(named(id).title[:1].upper() + named(id).title[1:] for id in COLUMNS))
    sections = (
        header(artifact, manifest, receipt, types=[one.type for one, _ in items if one.type]),
        f"# {text(repository.partition('/')[2])}\n\n{introduction(artifact, manifest, types)}",
        "## Which file\n\n" + table(heads, [_row(*item) for item in items], right=(2, 3, 4, 5)),
        "KL divergence says how far a type strays from the source, in nats a token: the less, the better. It was "
        "measured by LQMF on a text that nothing was tuned on.",
        "## How to run it\n\n" + _usage(repository, artifact, manifest, task(receipt)),
        "## Limits\n\n" + text(prose.written(artifact, manifest, artifact.receipt).limits),
        "## How it was made\n\n" + table(("", ""), origin(manifest)),
        "## Hashes\n\n" + table(("File", "Size", "SHA-256"), [row for item in items for row in _hashes(*item)]),
    )
    return "\n\n".join(sections) + "\n"


def _row(artifact: Artifact, manifest: Manifest) -> tuple[str, ...]:
    told = document(artifact, artifact.receipt)
    figures = (named(id).line(told)[1] for id in COLUMNS)
    kind = artifact.type or f"{artifact.bits} bit"
    return text(_weights(manifest)), text(kind), *("" if figure == NONE else figure for figure in figures)


def _weights(manifest: Manifest) -> str:
    weights = [entry.path for entry in manifest.files if entry.path.endswith((".gguf", ".safetensors"))]
    return weights[0] if weights else ""


def _usage(repository: str, artifact: Artifact, manifest: Manifest, task: str) -> str:
    if artifact.method != "gguf":
        ways = in_folder(plain(repository), artifact, manifest, task)
        return "\n\n".join(f"{title}:\n\n{block}" for title, block in ways.items())
    file = plain(_weights(manifest))
    llama = shlex.join(["llama-cli", "--hf-repo", repository, "--hf-file", file, "-cnv"])
    ollama = shlex.join(["ollama", "run", f"hf.co/{repository}:{file}"])
    return f"With llama.cpp:\n\n{fence('sh', llama)}\n\nWith Ollama:\n\n{fence('sh', ollama)}"


def _hashes(artifact: Artifact, manifest: Manifest) -> list[tuple[str, str, str]]:
    kept = [f for f in manifest.files if f.immutable and (artifact.method != "gguf" or f.path.endswith(".gguf"))]
    return [(text(f.path), file_size(f.size_bytes), text(f.sha256)) for f in kept]
