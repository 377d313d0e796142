"""Writes an artifact's model card, in the Hugging Face Hub's format. Pure: records in, text out.

Figures and tables come from the records alone. Names that come from outside are data here: no control character, no
Markdown and no YAML of theirs takes effect. The card names neither this machine nor a path on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lqmf.artifacts.card import prose
from lqmf.artifacts.card.header import header, hub_id, task
from lqmf.artifacts.card.markdown import bar, table, text
from lqmf.artifacts.card.measures import measured, quality
from lqmf.artifacts.card.prose import Prose
from lqmf.artifacts.card.usage import usage
from lqmf.quality.measures import document
from lqmf.records import Artifact, Manifest, Receipt, to_json
from lqmf.units import file_size


def model_card(
    artifact: Artifact,
    manifest: Manifest,
    receipt: Receipt | Mapping[str, Any] | None,
    *,
    words: Prose | None = None,
) -> str:
    """Return README.md of an artifact: header, facts, quality, how to run it, its limits, how it was made, its files.

    `receipt` is None when nothing was measured; `words` replace the sentences that the records make.
    """
    measured = to_json(receipt) if receipt is not None else None
    words = words or prose.written(artifact, manifest, measured)
    sections = (
        header(artifact, manifest, measured or {}),
        f"# {text(artifact.name)}\n\n{introduction(artifact, manifest)} {text(words.summary)}",
        "## Facts\n\n" + table(("", ""), _facts(artifact, manifest, measured or {})),
        _sizes(artifact, manifest),
        "## How good it is\n\n" + quality(artifact, measured),
        "## How to run it\n\n" + usage(artifact, manifest, task(measured or {})),
        "## Limits\n\n" + text(words.limits),
        "## How it was made\n\n" + _making(manifest),
        "## Files\n\n" + table(("File", "Size", "SHA-256"), _files(manifest)),
    )
    return "\n\n".join(filter(None, sections)) + "\n"


def introduction(artifact: Artifact, manifest: Manifest, types: Sequence[str] = ()) -> str:
    """Return a sentence on what it is; `types` are those of a repository with several."""
    model = manifest.model
    if hub_id(model):
        source = f"[{text(model.id)}](https://huggingface.co/{model.id})"
    else:
        source = f"{text(model.id)}, " + ("the model bundled with LQMF" if model.kind == "demo" else "a local model")
    kinds = text(", ".join(types) or artifact.type)
    what = " ".join(part for part in (text(artifact.method.upper()), kinds) if part)
    return f"A quantization ({what}) of {source}, made by LQMF (Local Quantized Model Factory)."


def _facts(artifact: Artifact, manifest: Manifest, receipt: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = document(artifact, receipt)
    sizes = {name: ", ".join(filter(None, (figure, remark))) for name, figure, remark in measured(told, "file")}
    facts = {
        "Method": artifact.method,
        "Type": artifact.type,
        "Bits": f"{artifact.bits}{_misfit(manifest)}",
        **sizes,
        "Types of the tensors": _tensors(manifest.tensors),
        "Settings": ", ".join(f"{name} {value}" for name, value in (manifest.plan.get("parameters") or {}).items()),
    }
    return [*((name, text(value)) for name, value in facts.items() if value), *origin(manifest)]


def origin(manifest: Manifest) -> list[tuple[str, str]]:
    """Return what it was made from and with, as rows."""
    facts = {
        "Importance matrix": _imatrix(manifest.imatrix or {}),
        "Source": manifest.model.id,
        "Source commit": manifest.commit or "",
        "Licence of the source": manifest.license or "",
        "Made at": manifest.created_at,
        "Made with": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    }
    return [(name, text(value)) for name, value in facts.items() if value]


def _misfit(manifest: Manifest) -> str:
    """Say that the file has more bits a weight than its type, where the plan says so."""
    said = manifest.plan.get("misfit")
    return f"; {said}" if isinstance(said, str) and said else ""


def _tensors(types: Mapping[str, str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(types.values()).most_common())


def _imatrix(told: Mapping[str, Any]) -> str:
    """The text and windows from which an importance matrix was collected; "" for none."""
    windows = f", {told['windows']} windows" if told.get("windows") else ""
    return f"from {told.get('text') or 'a file'}{windows}" if told else ""


def _sizes(artifact: Artifact, manifest: Manifest) -> str:
    """The sizes of artifact and source, as bars."""
    sizes = {"the source": manifest.source_size_bytes, "this one": artifact.size_bytes}
    most = max(sizes.values())
    return table(("", "Size", ""), [(name, file_size(size), bar(size, most)) for name, size in sizes.items()], (1,))


SHAPING = ("method", "type", "bits", "imatrix", "base")  # choices that the file depends on; the others are of a machine


def _making(manifest: Manifest) -> str:
    """The choices of the plan. The reasons stay in the manifest: they speak of the machine that the plan was made
    for."""
    rows = [(c["name"], text(str(c["value"]))) for c in manifest.plan.get("choices") or () if c["name"] in SHAPING]
    told = "`manifest.json` holds the plan, the versions and the hashes: enough to make it again."
    return "\n\n".join([told, table(("Choice", "Value"), rows)] if rows else [told])


def _files(manifest: Manifest) -> list[tuple[str, str, str]]:
    return [(text(f.path), file_size(f.size_bytes), text(f.sha256)) for f in manifest.files if f.immutable]
