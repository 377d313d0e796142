"""Writes the Modelfile of an artifact, for Ollama, from the GGUF file's header and the plan's run settings.

Reads a header, never a weight. The model's own chat template is a stranger's program and is rendered in a child
process. Knows no receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lqmf.artifacts import run_lines
from lqmf.artifacts.card.ollama_template import Converted, Dialogue, converted
from lqmf.errors import LqmfError
from lqmf.model_files import template_check
from lqmf.model_files.gguf_header import GgufHeader, read_header, token
from lqmf.records import Manifest

TEMPLATE = "tokenizer.chat_template"
WITH_TEMPLATE = (
    "TEMPLATE is the model's own chat template in Ollama's language: roles in any order, empty turns, thoughts and two "
    "dates gave the same text in both. Ollama itself joins messages of one role in a row."
)
WITHOUT = "There is no TEMPLATE: {}. Ollama then takes one of its own that is like the file's, or none."


def of_artifact(folder: Path, manifest: Manifest, out: Path | None = None) -> str | None:
    """Return the Modelfile of the artifact in `folder`, to lie in `out` (None: in `folder`); None where it holds no
    GGUF. Raises ModelError, NotFound."""
    name = next((entry.path for entry in manifest.files if entry.path.endswith(".gguf")), None)
    if name is None or not name.isprintable():
        return None
    place = name if out is None or (out / name).is_file() else str((folder / name).absolute())
    found = run_lines.of_manifest(manifest)
    header = read_header(folder / name)
    chat = chat_template(header)
    end = token(header, header.metadata.get("tokenizer.ggml.eos_token_id"))
    stops = [stop for stop in dict.fromkeys([*chat.stops, end]) if stop and stop.isprintable()] if chat.template else []
    notes = [WITH_TEMPLATE, *chat.notes] if chat.template else [WITHOUT.format(chat.reason)]
    return run_lines.modelfile(found[0] if found else None, place, template=chat.template, stops=stops, notes=notes)


def chat_template(header: GgufHeader) -> Converted:
    """Return the file's chat template in Ollama's language; without a template, and with the reason, if none was
    proven."""
    template = header.metadata.get(TEMPLATE)
    if not isinstance(template, str) or not template:
        return Converted(reason="the file has no chat template")
    begin, end = (token(header, header.metadata.get(f"tokenizer.ggml.{name}_token_id")) for name in ("bos", "eos"))
    adds = header.metadata.get("tokenizer.ggml.add_bos_token")
    made = converted(lambda dialogues: _rendered(template, dialogues, "" if adds else begin, end))
    if adds is None and made.template and begin and begin in made.template:
        return Converted(reason="the file does not say whether the token that begins a text is added to it")
    return made


def _rendered(template: str, dialogues: Sequence[Dialogue], bos: str, eos: str) -> list[str | None]:
    try:
        told: list[Any] = template_check.renderings(template, dialogues, bos=bos, eos=eos)
    except LqmfError:
        return [None] * len(dialogues)
    return [one.text for one in told]
