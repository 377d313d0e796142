"""The things that a sentence points to: artifacts by name, "it", "the last one", "the 8 bit one", "both".

Knows the names that were spoken or reported. Knows nothing of requests or settings.
"""

from __future__ import annotations

import re

from lqmf.understanding.courtesy import without_denied
from lqmf.understanding.lexicon import ALWAYS_BY_NAME, METHOD, TYPE, is_value, type_name
from lqmf.understanding.models import MARK
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.rules import IT_WORD
from lqmf.understanding.sentence import Sentence
from lqmf.understanding.slots import Slots
from lqmf.understanding.state import Dialogue


def named(sentence: Sentence) -> tuple[str, ...]:
    """Return all names in a sentence, of artifacts and models alike, in spoken order."""
    wanted = set(sentence.names) | set(sentence.models)
    order = [sentence.wording.entities[int(found[2])].text for found in MARK.finditer(sentence.plain)]
    return tuple(dict.fromkeys(text for text in order if text in wanted))


_BARE = Pattern(
    r"^(?:now |then |and |also |ok |please |next |just )*(?:test|verify|benchmark|delete|rebuild|show|chat"
    r"|serve|compare|docs|experiment|erase|remove|bench)(?: now| then| too| as well| again| please)*[\s.!?]*$"
)
_ARGUMENT = Pattern(
    r"^(?:test|verify|benchmark|delete|remove|rm|rebuild|show|chat|serve|docs|experiment|compare|history"
    r"|report|api serve)(?: (?:with|the|me|job|artifact|model|named|called"
    r"|run))* ([\w.+-]*[\d_.-][\w.+-]*\w)[.!?]?$"
)


def references(state: Dialogue, sentence: Sentence, intent: str) -> Slots:
    spoken = named(sentence)
    pointed = referred(state, sentence)
    if intent == "test" and (base := _base(sentence)):
        others = tuple(name for name in spoken if name != base)
        return {**(name_slots(intent, others or pointed, ()) or _what_it_is(state)), "base": base}
    if intent == "compare" and not spoken and _LAST_TWO.search(sentence.plain):
        return {"names": list(state.names[-2:])} if len(state.names) > 1 else {}
    if intent == "compare":
        return _compared(state, sentence, spoken, pointed)
    if spoken:
        return name_slots(intent, spoken, sentence.models)
    if pointed:
        return name_slots(intent, pointed, ())
    kinds = _kinds(sentence)
    kind: Slots = {"name": kinds[0]} if len(kinds) == 1 else {}
    if re.search(r"\b(?:one|version)\b", sentence.plain):
        chosen = by_description(state, sentence)
        if chosen or kind:
            return {"name": chosen} if chosen else kind
    if (
        IT_WORD.search(sentence.plain)
        or _BARE.match(sentence.plain)
        or re.search(r"\b(?:too|as well|then|now)\b", sentence.plain)
    ):
        return _what_it_is(state)
    return kind


def _kinds(sentence: Sentence) -> tuple[str, ...]:
    """Return the types that a sentence says, else the methods, else the bits: an artifact can be named by these,
    too."""
    types = dict.fromkeys(type_name(found[0]) for found in TYPE.finditer(sentence.plain))
    methods = dict.fromkeys(found.lastgroup for found in METHOD.finditer(sentence.plain))
    bits = sentence.said.get("bits")
    return tuple(filter(None, types or methods)) or ((f"{bits}bit",) if bits else ())


_AGAINST = Pattern(r"\bagainst (?:(?:the|its|base|source|model|original|folder) )*<[mp](\d+)>")


def _base(sentence: Sentence) -> str | None:
    """Return the base that an artifact is to be compared with: a model or a path, never another artifact."""
    found = _AGAINST.search(sentence.plain)
    return sentence.wording.entities[int(found[1])].text if found else None


def _what_it_is(state: Dialogue) -> Slots:
    if state.names and (state.artifact_is_it or state.request is None):
        return {"name": state.names[-1]}
    if state.request and "model" in state.request.slots:
        return {"model": state.request.slots["model"]}
    return {}


def _compared(state: Dialogue, sentence: Sentence, named: tuple[str, ...], pointed: tuple[str, ...]) -> Slots:
    everyone = tuple(dict.fromkeys(pointed + named if _it_comes_first(sentence) else named + pointed))
    if not everyone and (
        re.search(r"\b(?:them|both|these|those|two)\b", sentence.plain) or _BARE.match(sentence.plain)
    ):
        last_names = tuple(state.last.slots.get("names", ())) if state.last else ()
        everyone = last_names or state.names[-2:]
    if not everyone and len(state.names) > 1 and re.search(r"\bwhich\b", sentence.plain):
        everyone = state.names[-2:]
    if not everyone and len(kinds := _kinds(sentence)) > 1:
        everyone = kinds
    if (
        len(everyone) == 1
        and not IT_WORD.search(sentence.plain)
        and len(named) == 1
        and state.artifact_is_it
        and state.names[-1] != named[0]
    ):
        everyone = (
            (state.names[-1], *named)
            if re.match(r"^(?:now |and )?compared? (?:with|to|against)\b", sentence.front)
            else everyone
        )
    return {"names": list(everyone)} if everyone else {}


def _it_comes_first(sentence: Sentence) -> bool:
    pronoun, mark = IT_WORD.search(sentence.plain), MARK.search(sentence.plain)
    return pronoun is not None and (mark is None or pronoun.start() < mark.start())


def name_slots(intent: str, named: tuple[str, ...], models: tuple[str, ...]) -> Slots:
    if len(named) > 1:
        return {"names": list(named)}
    if named and named[0] in models and intent not in ALWAYS_BY_NAME:
        return {"model": named[0]}
    return {"name": named[0]} if named else {}


_LAST_TWO = Pattern(
    r"\b(?:last|latest|newest|previous|most recent|recent) (?:two|2|couple|pair)\b|\b(?:two|2) (?:last|latest"
    r"|newest|most recent)\b"
)
_ORDINALS = Pattern(
    r"\b(?:the )?(it|that one|this one|that|this|last(?: one)?|latest(?: one)?|newest(?: one)?"
    r"|most recent(?: one)?|previous(?: one)?|first(?: one)?|second(?: one)?|third(?: one)?|other(?: one)?"
    r"|former|latter|one before(?: (?:that|it))?|both|two|them|these|those)\b"
)


def referred(state: Dialogue, sentence: Sentence) -> tuple[str, ...]:
    """Return the artifacts that "it", "the last one", "the first" point to, in spoken order."""
    found = [
        match[1].removesuffix(" one") for match in _ORDINALS.finditer(MARK.sub(" ", without_denied(sentence.plain)))
    ]
    known = tuple(state.last.slots.get("names", ())) if state.last else ()
    listed = known or state.names
    chosen: list[str] = []
    for word in found:
        name = _pick(word, listed, state, [*chosen, *named(sentence)])
        chosen += [single for single in name if single not in chosen]
    return tuple(chosen)


def _pick(word: str, listed: tuple[str, ...], state: Dialogue, taken: list[str]) -> tuple[str, ...]:
    names = state.names
    free = [name for name in names if name not in taken]
    if word in ("both", "two", "them", "these", "those"):
        return (
            listed[-2:]
            if word in ("both", "two")
            else (tuple(state.last.slots.get("names", ())) if state.last else ()) or listed[-2:]
        )
    if word in ("first", "former") and len(listed) > 1:
        return (listed[0],)
    if word in ("second", "third") and len(listed) > 1:
        return listed[1:2] if word == "second" else listed[2:3]
    if word == "latter" and listed:
        return (listed[-1],)
    if word in ("last", "latest", "newest", "most recent", "other", "previous", "one before", "first", "former"):
        before = [name for name in free if not (state.artifact_is_it and names and name == names[-1])]
        if word in ("previous", "other", "one before") or taken:
            return tuple((before or free)[-1:])
        return tuple(free[-1:])
    return names[-1:] if state.artifact_is_it and (not taken or names[-1] not in taken) else ()


def by_description(state: Dialogue, sentence: Sentence) -> str | None:
    """Return the latest known name that fits a description ("the 8 bit one", "the gptq version"); None where none
    fits."""
    wanted = [f"{sentence.said['bits']}bit"] if "bits" in sentence.said else []
    wanted += [str(sentence.said[key]) for key in ("method", "type") if key in sentence.said]
    fitting = [name for name in state.names if all(word.lower() in name.lower() for word in wanted)]
    return fitting[-1] if wanted and fitting else None


def argument(sentence: Sentence) -> Slots:
    """Return the name that stands behind a command, a word that can only be a name ("delete run-12"), as a slot; else
    no slot."""
    found = _ARGUMENT.match(sentence.front)
    if not found or is_value(found[1]):
        return {}
    typed = re.search(re.escape(found[1]), sentence.wording.text, re.IGNORECASE)
    return {"name": typed[0] if typed else found[1]}
