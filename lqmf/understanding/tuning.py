"""Reads from a sentence the settings that one method has, in the phrases that the method declares: GPTQ's groups,
order, symmetry and damping; bitsandbytes' double quantization, computing type and outliers.

Knows which method a phrase belongs to. Knows nothing of the values that a setting may have: the backend checks them.
"""

from __future__ import annotations

import re

from lqmf.declared import methods
from lqmf.declared.methods import Phrase
from lqmf.understanding.patterns import Pattern

_SETTINGS: tuple[tuple[str, Phrase, Pattern], ...] = tuple(
    (method.name, phrase, Pattern(phrase.pattern)) for method in methods.offered().values() for phrase in method.phrases
)


def _value(phrase: Phrase, found: re.Match[str]) -> str:
    said = found.groupdict()
    if number := said.get("number"):
        return f"{float(number) / 100:g}" if said.get("percent") else number
    if word := said.get("word"):
        return phrase.spelled.get(word, word)
    return "false" if said.get("no") else "true"


def settings(plain: str) -> tuple[dict[str, str] | None, str | None, str]:
    """Return the settings said, by name and as text; the method that has them (None where it is not a single one); and
    the rest of the sentence."""
    said: dict[str, str] = {}
    owners: set[str] = set()
    for method, phrase, pattern in _SETTINGS:
        if found := pattern.search(plain):
            said.setdefault(phrase.name, _value(phrase, found))
            owners.add(method)
            plain = pattern.sub(" ", plain)
    return said or None, owners.pop() if len(owners) == 1 else None, plain
