"""Prompts: readable templates in assets/prompts, one a purpose, filled in and split into messages.

Knows files and placeholders; knows nothing of what is asked, nor of whom.

A template is what the helper is told first, a line of `---`, and what it is asked. `$name` stands for a value, which is
never read as a template itself. What others wrote goes in through `fenced`: as data, between marks that it cannot
write.
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
    """The messages of the template called `name`, the system's first. Raises KeyError for a placeholder without a
    value, ValueError for a value without a placeholder."""
    from lqmf.providers.base import Message

    told, asked = _parts(name)
    wanted = {*told.get_identifiers(), *asked.get_identifiers()}
    if unused := set(values) - wanted:
        raise ValueError(f"{name}.md has no place for {', '.join(sorted(unused))}")
    return [Message("system", told.substitute(values)), Message("user", asked.substitute(values))]


def names() -> list[str]:
    """The templates that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def fenced(source: str, data: Any) -> str:
    """`data` as JSON between marks that name where it is from. No `<` is left in it but that of a masked path, so it
    can end no fence."""
    text = _OPENING.sub("\\\\u003c", json.dumps(data, indent=1, ensure_ascii=False))
    return f'<data from="{source}">\n{text}\n</data>'


@cache
def _parts(name: str) -> tuple[Template, Template]:
    told, _, asked = (FOLDER / f"{name}.md").read_text(encoding="utf-8").partition(_BREAK)
    return Template(told.strip()), Template(asked.strip())
