"""Checks an artifact's files, as the worker's task of a test: whether they are whole and sound, and agree with the
source's.

Template, special tokens, vocabulary, context, rope, and a sample of every tensor beside the source's. In a process of
its own: the source's tokenizer loads transformers, and the artifact's memory is measured elsewhere. Runs no model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lqmf.errors import ModelError, UsageError
from lqmf.events import Emit, stage
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.gguf_header import GgufHeader, LongArray, read_header
from lqmf.quality.checks import checks, fingerprints, structure
from lqmf.quality.checks.fingerprints import Found
from lqmf.quality.checks.finite import OutOfTime
from lqmf.quality.checks.tensors import tensors
from lqmf.quality.checks.traits import Traits, rope_of_gguf, traits
from lqmf.records import Check, Task, to_json

WEIGHTS = ("source_weights", "layer_order")
ALL = ("finite_weights", *structure.NAMES, *WEIGHTS)
UNUSED = ("torch",)  # which transformers imports wherever it is installed, in twice the time that all checks take
_STEPS = 3


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Check an artifact's files against its source's.

    `params`: {"artifact": path, "source": the source's folder or None, "base": what the artifact is measured against (a
    GGUF of the source, or its folder) or None, "reason": why either is None, "budget_seconds": for reading all weights,
    or None}.

    Returns {"checks", "reasons": why a check is missing, by "checks.<name>", "other_model": why the artifact cannot be
    made from that source, or ""}. Raises LqmfError for files that cannot be read at all.
    """
    params = task.params
    artifact = Path(params["artifact"])
    source, base = (Path(params[name]) if params.get(name) else None for name in ("source", "base"))
    reason = params.get("reason") or "its source is not at hand"
    with stage(emit, "structure", f"Checking {artifact.name}", "steps") as report:
        report(0, _STEPS, "files")
        whole = checks.whole_file(artifact)
        if not whole.passed:  # what is not there cannot be read
            return {"checks": [to_json(whole)], "reasons": _missing(ALL, whole.detail), "other_model": ""}
        own, unread = _finite(artifact, params.get("budget_seconds"))
        report(1, _STEPS, "settings")
        told, reasons = _usage(artifact, source, base, reason)
        report(2, _STEPS, "weights")
        held, why, found = _weights(artifact, base, reason)
        report(_STEPS, _STEPS, "checked")
    return {
        "checks": to_json([whole, *own, *told, *held]),
        "reasons": {**unread, **reasons, **why},
        "other_model": _other_model(told, found),
    }


def _finite(artifact: Path, seconds: float | None) -> tuple[list[Check], structure.Reasons]:
    try:
        return [checks.finite_weights(artifact, seconds)], {}
    except OutOfTime as reason:
        return [], _missing(("finite_weights",), str(reason))


def _missing(names: Sequence[str], reason: str) -> structure.Reasons:
    return {f"checks.{name}": reason for name in names}


def _usage(
    artifact: Path, source: Path | None, base: Path | None, reason: str
) -> tuple[list[Check], structure.Reasons]:
    """Check the settings for use against the source's own folder, or its GGUF where only that is there or can be
    read."""
    told = reason
    for against in dict.fromkeys(place for place in (source, base) if place is not None):
        try:
            return _settings(artifact, against, base)
        except (ModelError, UsageError) as error:  # such as a tokenizer that only Python of its own reads
            told = error.message
    return [], _missing(structure.NAMES, told)


def _settings(artifact: Path, against: Path, base: Path | None) -> tuple[list[Check], structure.Reasons]:
    with traits(artifact) as ours, traits(against) as theirs:
        if base is None or not (holds_gguf(base) and holds_gguf(artifact)):
            return structure.compare(ours, theirs)
        header = read_header(model_file(base))
        return structure.compare(ours, _as_converted(theirs, header), rope_of_gguf(header))


def _as_converted(source: Traits, header: GgufHeader) -> Traits:
    """Return the source's traits, with those that llama.cpp's converter changes for this architecture."""
    words = header.metadata.get("tokenizer.ggml.tokens")
    count = words.length if isinstance(words, LongArray) else len(words or ())
    context = header.metadata.get(f"{header.architecture}.context_length")
    return dataclasses.replace(
        source,
        vocabulary=count or source.vocabulary,
        context_length=context if isinstance(context, int) else source.context_length,
    )


def _weights(artifact: Path, base: Path | None, reason: str) -> tuple[list[Check], structure.Reasons, Found | None]:
    """Check a sample of every tensor against the source's, where both are stored under the same names."""
    if base is not None and holds_gguf(base) is not holds_gguf(artifact):
        base, reason = None, "the source is there in another format, with other names for its tensors"
    if base is None:
        return [], _missing(WEIGHTS, reason), None
    ours, theirs = tensors(artifact), tensors(base)
    if unread := ours.unread or theirs.unread:
        return [], _missing(WEIGHTS, unread), None
    found = fingerprints.compare(ours, theirs, folders=not holds_gguf(base))
    told = found.checks()
    return told, _missing([name for name in WEIGHTS if name not in {one.name for one in told}], found.reason), found


def _other_model(told: list[Check], found: Found | None) -> str:
    """Return why the artifact and its base are two different models; empty where they may be the same."""
    words = next((check for check in told if check.name == "vocabulary" and not check.passed), None)
    if words is not None:
        return words.detail
    if found is not None and found.alien:
        return found.checks()[0].detail
    return ""
