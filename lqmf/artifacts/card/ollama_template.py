"""Converts a model's chat template (Jinja) to Ollama's (Go): learnt from renderings of dialogues, then proven on
others.

No template is known by name here. The text before and after each turn is cut out of a few renderings; the Go template
built of these pieces is rendered for further dialogues, and is returned only if every text is equal. Knows renderings;
runs no Jinja.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.artifacts.card import go_template
from lqmf.errors import UsageError

Dialogue = Mapping[str, Any]  # {"messages", "add_generation_prompt"}
Render = Callable[[Sequence[Dialogue]], Sequence[str | None]]  # the text of each; None where the template refuses it

ASKED, ANSWERED, NEXT, TOLD = "What is a list?", "A sequence of things.", "And a tuple?", "Answer in one line."
_MARKER = re.compile(r"\s*(<[^<>\s]{1,60}>|\[/?[A-Z_]{2,20}\])")
_TOOL = {"type": "function", "function": {"name": "weather", "description": "At a place.", "parameters": {}}}


@dataclass(frozen=True)
class Converted:
    """A converted template. `template` is Ollama's, empty where none was proven: `reason` then says why. `stops` are
    the strings that end an answer in the model's own template; `notes` say what the Go template leaves out."""

    template: str = ""
    reason: str = ""
    stops: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def converted(render: Render) -> Converted:
    """Return the Go template that gives the texts that `render` gives for dialogues."""
    asked, begun, answered, several, told, told_several, tools, *proofs = render([*_LEARNT, *_PROOFS])
    if asked is None or answered is None or several is None:
        return Converted(reason="it refuses a plain dialogue")
    pieces = _pieces(asked, begun, answered, several)
    if pieces is None:
        return Converted(reason="what stands around a turn depends on where the turn is")
    stops = tuple(found[1] for found in [_MARKER.match(pieces.after_answer)] if found)
    opened = _with_system(pieces, told)
    template = _go(pieces, opened)
    if opened is None and told is not None:
        return Converted(reason="where a system message goes could not be read off", stops=stops)
    if not _proven(template, [*proofs, several, told_several]):
        return Converted(reason="other dialogues come out differently", stops=stops)
    return Converted(template, stops=stops, notes=_notes(told, tools, asked))


def _said(*turns: tuple[str, str], more: bool = True, **others: Any) -> Dialogue:
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"messages": messages, "add_generation_prompt": more, **others}


_FIRST, _REPLY, _SECOND, _SYSTEM = ("user", ASKED), ("assistant", ANSWERED), ("user", NEXT), ("system", TOLD)
_LEARNT: tuple[Dialogue, ...] = (
    _said(_FIRST),
    _said(_FIRST, more=False),
    _said(_FIRST, _REPLY, more=False),
    _said(_FIRST, _REPLY, _SECOND),
    _said(_SYSTEM, _FIRST),
    _said(_SYSTEM, _FIRST, _REPLY, _SECOND),
    _said(_FIRST, tools=[_TOOL]),
)
_ODD = ("user", 'Braces {{ x }} and {, "quotes" """here""", {% y %}\n\nlines: Grüße, 世界 🙂')
_PROOFS: tuple[Dialogue, ...] = (
    _said(_ODD),
    _said(_FIRST, ("assistant", "Two\nlines, and {{ .System }}"), _ODD, ("assistant", "Yes."), ("user", "Thanks.")),
    _said(("system", "Übersetze.\nNur das."), _ODD),
    _said(_SYSTEM, _ODD, _REPLY, _FIRST, ("assistant", "No."), _SECOND),
)


# ---------------------------------------------------------------- cutting out


@dataclass(frozen=True)
class _Pieces:
    """The pieces of a dialogue's text, by their place. `opening` comes before the first question, and includes the
    opening of its turn."""

    opening: str
    after_question: str
    before_answer: str
    after_answer: str
    before_question: str
    generation: str


def _pieces(asked: str, begun: str | None, answered: str, several: str) -> _Pieces | None:
    """The pieces of the renderings; None where the renderings are not built of the same pieces."""
    first, whole, reply = _around(asked, ASKED), _around(several, ASKED, ANSWERED, NEXT), _around(answered, ANSWERED)
    if first is None or whole is None or reply is None or begun is None or not asked.startswith(begun):
        return None
    generation, (opening, after) = asked[len(begun) :], first
    after_question, after_answer = after.removesuffix(generation), reply[1]
    same = whole[0] == opening and whole[3] == after
    if not same or not whole[1].startswith(after_question) or not whole[2].startswith(after_answer):
        return None
    before_answer, before_question = whole[1][len(after_question) :], whole[2][len(after_answer) :]
    return _Pieces(opening, after_question, before_answer, after_answer, before_question, generation)


def _around(text: str, *contents: str) -> list[str] | None:
    """The texts before, between and after `contents`, each of which must be there once, in order; else None."""
    found = []
    for content in contents:
        if text.count(content) != 1:
            return None
        before, _, text = text.partition(content)
        found.append(before)
    return [*found, text]


def _with_system(pieces: _Pieces, told: str | None) -> tuple[str, str] | None:
    """The texts before a system message, and from it to the first question; None where they cannot be cut out."""
    found = _around(told, TOLD, ASKED) if told is not None else None
    if found is None or found[2] != pieces.after_question + pieces.generation:
        return None
    return found[0], found[1]


# ---------------------------------------------------------------- putting together


def _go(pieces: _Pieces, opened: tuple[str, str] | None) -> str:
    """The Go template. The opening of a further question's turn follows the answer before it, so that the first
    question, after a system message or none, needs no rule of its own."""
    text = go_template.literal
    opening = text(pieces.opening)
    if opened is not None:
        system = f"{text(opened[0])}{{{{ .System }}}}{text(opened[1])}"
        opening = f"{{{{ if .System }}}}{system}{{{{ else }}}}{opening}{{{{ end }}}}"
    question = f"{{{{ .Content }}}}{text(pieces.after_question)}"
    after = text(pieces.after_answer + pieces.before_question)
    answer = f"{text(pieces.before_answer)}{{{{ .Content }}}}{after}"
    turns = f'{{{{ if eq .Role "user" }}}}{question}{{{{ else if eq .Role "assistant" }}}}{answer}{{{{ end }}}}'
    return f"{opening}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{text(pieces.generation)}"


def _proven(template: str, texts: Sequence[str | None]) -> bool:
    """Whether the Go template gives every text that the model's own gives; a dialogue that the model's refuses proves
    nothing."""
    dialogues = [*_PROOFS, _LEARNT[3], _LEARNT[5]]
    try:
        made = [go_template.render(template, one["messages"]) for one in dialogues]
    except UsageError:
        return False
    return all(text is None or text == mine for text, mine in zip(texts, made, strict=True))


def _notes(told: str | None, tools: str | None, asked: str) -> tuple[str, ...]:
    refuses = "The model's own template takes no system message; one that is given is left out."
    leaves = "The model's own template takes tools; this one leaves them out."
    return (*((refuses,) if told is None else ()), *((leaves,) if tools not in (None, asked) else ()))
