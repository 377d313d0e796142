"""Prompts: readable templates in assets/prompts, a file for each purpose, filled in and split into messages.

Knows files and placeholders; knows nothing of the questions, nor of the providers that are asked.

A template holds the system message, a line of `---`, and the question. `$name` stands for a value, which is never read
as a template itself. Text that others wrote goes in through `fenced`: as data, between marks that it cannot write.
"""

from __future__ import annotations

import json
import re
from functools import cache
from string import Template
from typing import TYPE_CHECKING, Any

from lqmf import assets

if TYPE_CHECKING:
    from lqmf.providers.base import Message

FOLDER = assets.FOLDER / "prompts"
_BREAK = "\n---\n"
_OPENING = re.compile(r"<(?!path-\d+>)")


def messages(name: str, **values: str) -> list[Message]:
    """Return the messages of the template called `name`, the system's first. Raises KeyError for a placeholder without
    a value, ValueError for a value without a placeholder."""
    from lqmf.providers.base import Message

    told, asked = _parts(name)
    wanted = {*told.get_identifiers(), *asked.get_identifiers()}
    if unused := set(values) - wanted:
        raise ValueError(f"{name}.md has no place for {', '.join(sorted(unused))}")
    return [Message("system", told.substitute(values)), Message("user", asked.substitute(values))]


def names() -> list[str]:
    """Return the names of the templates."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def fenced(source: str, data: Any) -> str:
    """Return `data` as JSON between marks that name its source. Only the `<` of a masked path is left in it, so that it
    can end no fence."""
    text = _OPENING.sub("\\\\u003c", json.dumps(data, indent=1, ensure_ascii=False))
    return f'<data from="{source}">\n{text}\n</data>'


@cache
def _parts(name: str) -> tuple[Template, Template]:
    told, _, asked = (FOLDER / f"{name}.md").read_text(encoding="utf-8").partition(_BREAK)
    return Template(told.strip()), Template(asked.strip())
