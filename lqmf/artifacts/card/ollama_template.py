"""Converts a model's chat template (Jinja) to Ollama's (Go's text/template): learnt from renderings of dialogues, then
proven on others.

No template is known by name here. A template is convertible if the text between two messages depends on their two roles
alone: this text is cut out of renderings for each pair of roles, and the table of these texts must then give every
other rendering too. The Go template writes the same table; tests hold it against Go's own text/template. Knows
renderings; runs no Jinja.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Dialogue = Mapping[str, Any]  # {"messages", "add_generation_prompt", "now"}
Render = Callable[[Sequence[Dialogue]], Sequence[str | None]]  # the text of each; None where the template refuses it
Table = dict[tuple[str, str], str]  # (role before or BEGIN, role or END) -> the text between the two messages

BEGIN, END = "", "end"
ROLES = ("system", "user", "assistant")
DATES = ("2024-02-03T04:05:06", "2031-11-28T19:20:21")
_WORDS = ("What is a list?", "A sequence of things.", "And a tuple?", "Answer in one line.")
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
    asked = [*_LEARNT, *(dialogue for _, dialogue in _PROOFS), _ENDED, _WITH_TOOLS]
    texts = render([{**dialogue, "now": date} for date in DATES for dialogue in asked])
    learnt, rest = texts[: len(_LEARNT)], texts[len(_LEARNT) : len(asked)]
    *proofs, ended, tools = rest
    if learnt[0] is None:
        return Converted(reason="it refuses a plain dialogue")
    stops = _stops(ended)
    if list(texts[: len(asked)]) != list(texts[len(asked) :]):
        return Converted(reason="it writes the date of the day", stops=stops)
    table = _table(learnt)
    if table is None:
        return Converted(reason="the text around a message depends on more than its role", stops=stops)
    for (name, dialogue), text in zip(_PROOFS, proofs, strict=True):
        if text is not None and _joined(table, dialogue["messages"]) != text:
            return Converted(reason=f"{name} would come out differently", stops=stops)
    return Converted(_go(table), stops=stops, notes=tuple(_notes(table, tools, learnt[1])))


# ---------------------------------------------------------------- dialogues


def _said(*turns: tuple[str, str], more: bool = True, **others: Any) -> Dialogue:
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"messages": messages, "add_generation_prompt": more, **others}


def _of(roles: str, **others: Any) -> Dialogue:
    """A dialogue of these roles, by their first letters."""
    named = {role[0]: role for role in ROLES}
    return _said(*zip((named[letter] for letter in roles), _WORDS, strict=False), **others)


# each pair of roles; the first two are the plainest
_LEARNT = tuple(
    map(_of, ("uau", "u", "su", "sua", "uu", "ua", "us", "uas", "usu", "uaa", "ssu", "sau", "au", "s", "sa"))
)
_ENDED, _WITH_TOOLS = _of("ua", more=False), _of("u", tools=[_TOOL])
_FIRST, _REPLY, _SECOND, _SYSTEM = zip(("user", "assistant", "user", "system"), _WORDS, strict=True)
_ODD = ("user", 'Braces {{ x }} and {, "quotes" """here""", {% y %}\n\nlines: Grüße, 世界 🙂')
_THOUGHT = ("assistant", "<think>\nA tuple is one, too.\n</think>\n\nA sequence.")
_PROOFS: tuple[tuple[str, Dialogue], ...] = (
    ("other words", _said(_ODD)),
    (
        "a longer dialogue",
        _said(_FIRST, ("assistant", "Two\nlines, {{ .Role }}"), _ODD, ("assistant", "Yes."), _SECOND),
    ),
    ("a system message", _said(("system", "Übersetze.\nNur das."), _ODD)),
    ("a longer dialogue", _said(_SYSTEM, _ODD, _REPLY, _FIRST, ("assistant", "No."), _SECOND)),
    ("the thoughts of an earlier answer", _said(_FIRST, _THOUGHT, _SECOND)),
    ("the thoughts of an earlier answer", _said(_SYSTEM, _FIRST, _THOUGHT, _SECOND, _THOUGHT, _ODD)),
    ("the thoughts of a last answer", _said(_FIRST, _THOUGHT)),
    ("messages of one role in a row", _said(_FIRST, _ODD, _REPLY, ("assistant", "Yes."), _SECOND, _ODD)),
    ("a system message in the middle", _said(_SYSTEM, _FIRST, _REPLY, ("system", "Now in French."), _SECOND)),
    ("a system message in the middle", _said(_FIRST, _REPLY, _SYSTEM, _SECOND, ("assistant", "Oui."), _ODD)),
    ("an answer at the end", _said(_SYSTEM, _FIRST, _REPLY, _SECOND, ("assistant", "Another one."))),
    ("an empty question", _said(_SYSTEM, ("user", ""), _REPLY, _SECOND)),
    ("an empty answer", _said(_FIRST, ("assistant", ""), _SECOND)),
    ("an empty system message", _said(("system", ""), _FIRST)),
)


# ---------------------------------------------------------------- cutting out


def _table(texts: Sequence[str | None]) -> Table | None:
    """The texts between messages, of the renderings of _LEARNT; None where two renderings disagree."""
    table: Table = {}
    for dialogue, text in zip(_LEARNT, texts, strict=True):
        if text is None:
            continue
        between = _around(text, [message["content"] for message in dialogue["messages"]])
        if between is None:
            return None
        if any(table.setdefault(pair, one) != one for pair, one in zip(_pairs(dialogue), between, strict=True)):
            return None
    return table


def _pairs(dialogue: Dialogue) -> list[tuple[str, str]]:
    roles = [message["role"] for message in dialogue["messages"]]
    return list(zip([BEGIN, *roles], [*roles, END], strict=True))


def _around(text: str, contents: Sequence[str]) -> list[str] | None:
    """The texts before, between and after `contents`, each of which must be there once, in order; else None."""
    found = []
    for content in contents:
        if text.count(content) != 1:
            return None
        before, _, text = text.partition(content)
        found.append(before)
    return [*found, text]


def _stops(ended: str | None) -> tuple[str, ...]:
    """What ends an answer: the first marker after it."""
    around = _around(ended, _WORDS[:2]) if ended is not None else None
    found = _MARKER.match(around[-1]) if around else None
    return (found[1],) if found else ()


def _joined(table: Table, messages: Sequence[Mapping[str, str]]) -> str:
    """The text that the table gives for `messages`; a pair of roles that the model's template refuses has no text."""
    contents = [*(message["content"] for message in messages), ""]
    pairs = _pairs({"messages": messages})
    return "".join(table.get(pair, "") + content for pair, content in zip(pairs, contents, strict=True))


# ---------------------------------------------------------------- putting together


def _go(table: Table) -> str:
    """The Go template of a table: before each message, and at the end, the text that its role and the role before it
    ask for. A role that the model's template refuses writes nothing."""
    turns = "".join(
        f'{{{{ {"else if" if place else "if"} eq .Role "{role}" }}}}'
        f"{_chosen(table, role)}{{{{ .Content }}}}{{{{ $before = .Role }}}}"
        for place, role in enumerate(role for role in ROLES if any(pair[1] == role for pair in table))
    )
    return f'{{{{ $before := "" }}}}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{{{{ end }}}}{_chosen(table, END)}'


def _chosen(table: Table, role: str) -> str:
    """The texts before `role` by the role before it; the commonest, last, stands for all that are not named."""
    texts: dict[str, list[str]] = {}
    for (before, after), text in table.items():
        if after == role:
            texts.setdefault(text, []).append(before)
    *rarer, (usual, _) = sorted(texts.items(), key=lambda item: len(item[1]))
    branches = [
        f"{{{{ {'else if' if place else 'if'} eq $before {' '.join(map(_string, befores))} }}}}{literal(text)}"
        for place, (text, befores) in enumerate(rarer)
    ]
    if not branches:
        return literal(usual)
    return "".join(branches) + f"{{{{ else }}}}{literal(usual)}{{{{ end }}}}"


_APART = re.compile(r'\{{2,}|\{(?=\Z|"""|[^\n\t\x20-\x7e])|"""|[^\n\t{]')  # a brace before an action would join it


def literal(text: str) -> str:
    """Return template text that renders as `text`: parts that would be an action, would end a Modelfile's triple
    quotes, or are dropped by Ollama's parser (characters that do not print) are written as quoted strings."""
    return _APART.sub(lambda found: found[0] if _is_plain(found[0]) else f"{{{{ {_string(found[0])} }}}}", text)


def _is_plain(part: str) -> bool:
    return len(part) == 1 and part.isprintable() and part != "{"


def _string(text: str) -> str:
    """`text` as a quoted string of Go."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def _notes(table: Table, tools: str | None, asked: str | None) -> Iterator[str]:
    if (BEGIN, "system") not in table:
        yield "The model's own template takes no system message; one that is given is left out."
    if tools not in (None, asked):
        yield "The model's own template takes tools; this one leaves them out."
