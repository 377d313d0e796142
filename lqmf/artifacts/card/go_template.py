"""Writes and renders the part of Go's text/template in which `ollama_template` writes chat templates for Ollama.

That part is: text, `.System`, `.Content`, quoted strings, `if`/`else if`/`else`/`end` over `.System` and `eq .Role
"..."`, and `range .Messages`. Source of the rules: Go's text/template and Ollama's template/template.go (2026): system
messages are joined by an empty line, and so are consecutive messages of one role.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lqmf.errors import UsageError

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_ROLE = re.compile(r'eq \.Role ("(?:[^"\\]|\\.)*")')
_APART = re.compile(r'\{{2,}|\{(?=\Z|"""|[^\n\t\x20-\x7e])|"""|[^\n\t{]')  # a brace before an action would join it
_OPENING = ("if ", "range ")
Scope = Mapping[str, Any]
Node = Callable[[Scope], str]
Part = tuple[bool, str]  # whether it is an action, and its text


def literal(text: str) -> str:
    """Return template text that renders as `text`: parts that would be an action, would end a Modelfile's triple
    quotes, or are dropped by Ollama's parser (characters that do not print) are written as quoted strings."""
    return _APART.sub(lambda found: found[0] if _is_plain(found[0]) else _quoted(found[0]), text)


def _is_plain(part: str) -> bool:
    return len(part) == 1 and part.isprintable() and part != "{"


def _quoted(text: str) -> str:
    """An action that writes `text`, as a quoted string of Go."""
    return '{{ "' + "".join(_escaped(character) for character in text) + '" }}'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def render(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text that Ollama renders of `messages` ({"role", "content"}). Raises UsageError for an action that is
    not known here."""
    parts = _parts(template)
    body, rest = _block(parts, 0)
    if rest != len(parts):
        raise UsageError("An `end` or `else` closes nothing.")
    system = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
    return body({".System": system, ".Messages": _collated(messages)})


def _collated(messages: Sequence[Mapping[str, str]]) -> list[Scope]:
    """The messages, with consecutive messages of one role joined."""
    made: list[dict[str, str]] = []
    for one in messages:
        if made and made[-1][".Role"] == one["role"]:
            made[-1][".Content"] += "\n\n" + one["content"]
        else:
            made.append({".Role": one["role"], ".Content": one["content"]})
    return list(made)


def _parts(template: str) -> list[Part]:
    found, at = [], 0
    for action in _ACTION.finditer(template):
        found += [(False, template[at : action.start()]), (True, action[1].strip())]
        at = action.end()
    return [*found, (False, template[at:])]


def _block(parts: Sequence[Part], at: int) -> tuple[Node, int]:
    """The nodes from `at` up to the action that ends them, and the place of that action."""
    nodes: list[Node] = []
    while at < len(parts):
        action, text = parts[at]
        if action and (text == "end" or text.startswith("else")):
            break
        if action and text.startswith(_OPENING):
            node, at = _branch(parts, at)
        else:
            node, at = _leaf(action, text), at + 1
        nodes.append(node)
    return lambda scope: "".join(node(scope) for node in nodes), at


def _leaf(action: bool, text: str) -> Node:
    if not action:
        return lambda scope: text
    if text.startswith('"'):
        quoted = str(ast.literal_eval(text))
        return lambda scope: quoted
    if text not in (".System", ".Content"):
        raise UsageError(f"The action '{text}' is not known.")
    return lambda scope: str(scope[text])


def _branch(parts: Sequence[Part], at: int) -> tuple[Node, int]:
    """An `if` with all its `else`s, or a `range`, and the place after its end."""
    opening = parts[at][1].removeprefix("else ")
    body, at = _block(parts, at + 1)
    if at >= len(parts):
        raise UsageError(f"'{opening}' has no end.")
    if opening.startswith("range "):
        return _loop(opening, body), at + 1
    holds, closing = _condition(opening.removeprefix("if ")), parts[at][1]
    if closing == "end":
        return lambda scope: body(scope) if holds(scope) else "", at + 1
    if closing == "else":
        other, at = _block(parts, at + 1)
        return lambda scope: body(scope) if holds(scope) else other(scope), at + 1
    chained, at = _branch(parts, at)
    return lambda scope: body(scope) if holds(scope) else chained(scope), at


def _loop(opening: str, body: Node) -> Node:
    if opening != "range .Messages":
        raise UsageError(f"'{opening}' is not known.")
    return lambda scope: "".join(body(message) for message in scope[".Messages"])


def _condition(text: str) -> Callable[[Scope], bool]:
    if text == ".System":
        return lambda scope: bool(scope[".System"])
    if (found := _ROLE.fullmatch(text)) is None:
        raise UsageError(f"The condition '{text}' is not known.")
    role = ast.literal_eval(found[1])
    return lambda scope: bool(scope[".Role"] == role)
