"""Checks that an artifact is used as its source is: equal vocabulary, special tokens, template, context and rope.

Takes two models' traits, gives named checks. A check for which one model lacks the facts is left out, with a reason.
Knows traits; no file, no engine and no weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import zip_longest

from lqmf.quality.checks.dialogues import DIALOGUES, SAMPLE_TEXT
from lqmf.quality.checks.traits import FREQ_BASE, SCALING, Facts, Traits, comparable
from lqmf.records import Check

NAMES = ("template", "special_tokens", "end_of_text", "vocabulary", "context_length", "rope")
SAMPLED_PIECES = 512
_TOLD = 60  # characters of a difference that are shown
_SAME = 1e-6  # of a number that a header keeps in 32 bits
_LABELS = {FREQ_BASE: "base", SCALING: "scaling", "dimension_count": "dimensions"}

Reasons = dict[str, str]


class NotTold(Exception):
    """A check is not possible; the message says why."""


def compare(artifact: Traits, source: Traits, rope: Facts | None = None) -> tuple[list[Check], Reasons]:
    """Return (checks by NAMES, reasons of those left out). `rope` holds the rotary facts of the source's own
    conversion; None: those of the source's traits are taken."""
    found, reasons = [], Reasons()
    judges: dict[str, Callable[[], Check]] = {
        "template": lambda: template(artifact, source),
        "special_tokens": lambda: special_tokens(artifact, source),
        "end_of_text": lambda: end_of_text(artifact, source),
        "vocabulary": lambda: vocabulary(artifact, source),
        "context_length": lambda: context_length(artifact, source),
        "rope": lambda: rope_settings(artifact, source, rope),
    }
    for name in NAMES:
        try:
            found.append(judges[name]())
        except NotTold as reason:
            reasons[f"checks.{name}"] = str(reason)
    return found, reasons


# ---------------------------------------------------------------- vocabulary and special tokens


def vocabulary(artifact: Traits, source: Traits) -> Check:
    """Return the check that both models have as many tokens, that a sample of tokens has equal texts in both, and that
    both read SAMPLE_TEXT as the same tokens."""
    if artifact.vocabulary not in (source.vocabulary, source.known):
        return Check("vocabulary", False, f"{artifact.vocabulary:,} tokens; the source has {source.vocabulary:,}")
    wrong = [token for token in sample(source) if _bare(artifact.piece(token)) != _bare(source.piece(token))]
    if wrong:
        one = wrong[0]
        example = f"token {one} is {artifact.piece(one)!r}, the source's is {source.piece(one)!r}"
        return Check("vocabulary", False, f"{len(wrong)} of {len(sample(source))} sampled tokens differ: {example}")
    if (told := _read_apart(artifact, source, SAMPLE_TEXT)) is not None:
        return Check("vocabulary", False, told)
    return Check("vocabulary", True, f"{source.vocabulary:,} tokens, {len(sample(source))} compared")


def sample(source: Traits) -> list[int]:
    """Return up to SAMPLED_PIECES tokens spread evenly over those that have a text, without special tokens, which
    converters may spell differently."""
    known = min(source.known, source.vocabulary)  # a tokenizer may have words that its model has no row for
    count = min(SAMPLED_PIECES, known)
    spread = dict.fromkeys(n * (known - 1) // max(1, count - 1) for n in range(count))
    return [token for token in spread if token not in source.specials.values() and token not in source.ends]


def _bare(piece: str) -> str:
    """A piece without the marks by which files spell a space, or no space (BERT's "##")."""
    return piece.replace("\u2581", " ").replace("\u0120", " ").removeprefix("##").strip(" ")


def _read_apart(artifact: Traits, source: Traits, text: str) -> str | None:
    """Where both models read `text` differently; None where they read the same tokens."""
    ours, theirs = artifact.read(text), source.read(text)
    if ours == theirs:
        return None
    place = next(n for n, (one, other) in enumerate(zip_longest(ours, theirs)) if one != other)
    shown = "".join(_bare(source.piece(token)) for token in theirs[max(0, place - 1) : place + 3])
    return f"a text is read as other tokens than by the source, from token {place} on ({shown!r})"


def special_tokens(artifact: Traits, source: Traits) -> Check:
    """Return the check that the roles "bos" and "unk" have the source's tokens where both tokenizers name them, and
    that both put the same tokens around a text."""
    wrong = [
        f"{role} is token {artifact.specials[role]}, the source's {token}"
        for role, token in source.specials.items()
        if role in ("bos", "unk") and role in artifact.specials and artifact.specials[role] != token
    ]
    if artifact.frame != source.frame:
        wrong.append(f"it puts {_around(artifact)} around a text, the source {_around(source)}")
    return Check("special_tokens", not wrong, "; ".join(wrong))


def _around(traits: Traits) -> str:
    return " ".join(traits.piece(token) for token in traits.frame) or "nothing"


def end_of_text(artifact: Traits, source: Traits) -> Check:
    """Return the check that the artifact's end tokens are among the source's (of a folder and a GGUF: at least one is),
    and that every token that ends the source's answers ends its own. Raises NotTold for an encoder, and for a source
    without end tokens."""
    if not source.writes:
        raise NotTold("an encoder writes no text")
    if not source.ends:
        raise NotTold("the source names no token that ends a text")
    eos = artifact.specials.get("eos")
    named = artifact.ends if artifact.kind == "folder" else frozenset(() if eos is None else (eos,))
    if not named:
        return Check("end_of_text", False, "it names no token that ends a text")
    strange = sorted(named - source.ends)
    if strange and (artifact.kind == source.kind or not named & source.ends):  # a GGUF names fewer than a folder
        said = ", ".join(_quoted(source, token) for token in sorted(source.ends))
        its = ", ".join(_quoted(artifact, token) for token in strange)
        return Check("end_of_text", False, f"its end token is {its}; the source ends with {said}")
    lost = [t for t in sorted(source.ends) if t < artifact.vocabulary and not artifact.stops(t)]
    told = f"it does not stop at {', '.join(_quoted(source, token) for token in lost)}, as the source does"
    return Check("end_of_text", not lost, told if lost else "")


def _quoted(traits: Traits, token: int) -> str:
    return f"{traits.piece(token)!r} ({token})" if 0 <= token < traits.known else f"({token})"


# ---------------------------------------------------------------- template


def template(artifact: Traits, source: Traits) -> Check:
    """Return the check that each fixed dialogue becomes the same text and the same tokens, or is refused by both
    models. Raises NotTold where neither has a chat template."""
    if not source.templates and not artifact.templates:
        raise NotTold("neither the source nor the artifact has a chat template")
    if not source.templates or not artifact.templates:
        has, lacks = ("artifact", "source") if artifact.templates else ("source", "artifact")
        return Check("template", False, f"the {has} has a chat template, the {lacks} has none")
    dialogues = list(DIALOGUES.values())
    pairs = zip(DIALOGUES, artifact.render(dialogues), source.render(dialogues), strict=True)
    for name, ours, theirs in pairs:
        if (ours.text is None) != (theirs.text is None):
            who, why = ("artifact", ours.refusal) if ours.text is None else ("source", theirs.refusal)
            return Check("template", False, f"{name}: only the {who}'s template refuses it ({why[:_TOLD]})")
        if ours.text is None or theirs.text is None:
            continue
        if told := _text_apart(ours.text, theirs.text) or _read_apart(artifact, source, theirs.text):
            return Check("template", False, f"{name}: {told}")
    return Check("template", True, f"{len(dialogues)} dialogues")


def _text_apart(ours: str, theirs: str) -> str | None:
    if ours == theirs:
        return None
    place = next(n for n, (one, other) in enumerate(zip_longest(ours, theirs)) if one != other)
    begin = max(0, place - 10)
    return f"it writes {ours[begin:][:_TOLD]!r}, the source {theirs[begin:][:_TOLD]!r}"


# ---------------------------------------------------------------- context and rope


def context_length(artifact: Traits, source: Traits) -> Check:
    """Return the check that both models were trained for the same number of tokens at once. Raises NotTold where one of
    them names no such number."""
    if source.context_length is None:
        raise NotTold("the source's configuration names no context length")
    if artifact.context_length is None:
        raise NotTold("the artifact names no context length")
    same = artifact.context_length == source.context_length
    told = f"{artifact.context_length:,} tokens"
    return Check("context_length", same, told if same else f"{told}; the source has {source.context_length:,}")


def rope_settings(artifact: Traits, source: Traits, converted: Facts | None) -> Check:
    """Return the check that rotary positions have equal base, dimensions and scaling. `converted` holds the facts of
    the source's own conversion (None: the source's traits are taken). Raises NotTold where there is nothing to
    compare."""
    theirs = source.rope if converted is None else converted
    names = comparable(source, artifact) if converted is None else sorted({*converted, *artifact.rope})
    if not names or (converted is None and not theirs):  # transformers' defaults may tell of what is not there
        raise NotTold("the source's configuration says nothing of rotary positions")
    wrong = list(_rope_apart(names, artifact.rope, theirs))
    base = artifact.rope.get(FREQ_BASE)
    return Check("rope", not wrong, "; ".join(wrong) or (f"base {base:g}" if isinstance(base, int | float) else ""))


def _rope_apart(names: list[str], ours: Facts, theirs: Facts) -> Iterator[str]:
    for name in names:
        one, other = ours.get(name), theirs.get(name)
        if isinstance(one, int | float) and isinstance(other, int | float):
            same = math.isclose(one, other, rel_tol=_SAME)
        else:
            same = one == other
        if not same:
            yield f"{_LABELS.get(name, name)} {_shown(one)}, the source has {_shown(other)}"


def _shown(value: float | str | None) -> str:
    return "nothing" if value is None else f"{value:g}" if isinstance(value, int | float) else value
