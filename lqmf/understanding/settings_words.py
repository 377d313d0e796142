"""Settings in a sentence: which setting is meant, and its value. Knows words; the settings' meaning is elsewhere."""

from __future__ import annotations

import re

from lqmf.understanding.lexicon import SETTING, SETTINGS
from lqmf.understanding.models import unmark
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.sentence import Sentence
from lqmf.understanding.slots import Slots

_VALUE_AFTER = Pattern(r"(?:\b(?:to|at|as|be|is|of|into|than)\b|[=:]) *[\"']?(<[mnp]\d+>|[\w./:-]+)")
_NUMBER_UNIT = Pattern(r"^(\d+(?:\.\d+)?)(?:gb?|gib)$")


def setting(sentence: Sentence) -> Slots:
    plain, text = sentence.plain, sentence.wording.text
    typed = re.match(r"(?i)^(?:lqmf )?config (get|set) (\S+)(?:[ =]+(.+))?$", text)
    if typed:
        return {
            "key": typed[2].strip("\"'"),
            "value": typed[3].strip("\"'") if typed[3] and typed[1].lower() == "set" else None,
        }
    found = SETTING.search(plain)
    if not found:
        return _unnamed_setting(sentence)
    key = next(name for name in SETTINGS if found.groupdict().get(name))
    rest = plain[: found.start()] + " KEY " + plain[found.end() :]
    return {"key": key, "value": _setting_value(sentence, rest, found.end())}


def _setting_value(sentence: Sentence, rest: str, end: int) -> str | None:
    if re.match(
        r"^(?:what|which|show|get|tell|see|read|print|display|is|how|where|config get|look|let me see|check)\b",
        sentence.front,
    ):
        return None
    value = _VALUE_AFTER.search(sentence.plain, end) or re.match(r"^ ?()([\w./:-]+)", sentence.plain[end:])
    if value and value[value.lastindex or 1] not in ("please", "now", "setting", "on", "off", "for", "in", "the"):
        return _as_typed(sentence, value[value.lastindex or 1])
    before = re.search(r"KEY", rest)
    word = re.search(r"KEY +(?:on|at|for) (debug|info|warning|error|json|sqlite|\d+)\b", rest)
    if word:
        return word[1]
    if re.search(r"\b(?:enable|turn on|switch on|activate|on)\b", rest):
        return "true"
    if re.search(r"\b(?:disable|turn off|switch off|deactivate|off|no)\b", rest):
        return "false"
    lead = re.search(r"\b(debug|info|warning|error|json|sqlite|\d+)\b", rest[: before.start()] if before else rest)
    return lead[1] if lead else None


def _unnamed_setting(sentence: Sentence) -> Slots:
    kept = re.search(r"\b(json|sqlite)\b", sentence.plain)
    if kept:
        return {"key": "storage_backend", "value": kept[1]}
    asked = re.search(
        r"\b([a-z]+(?:_[a-z]+)+) in (?:the |my |your )?(?:config|configuration|settings)\b", sentence.plain
    )
    if asked:
        return {"key": asked[1]}
    loose = re.search(r"\b(?:set|change) ([a-z]\w*_\w+)(?: (?:to|=)|=)? *(\S+)?", sentence.plain)
    if loose:
        return {"key": loose[1], "value": _as_typed(sentence, loose[2]) if loose[2] else None}
    return {}


def value_of(sentence: Sentence) -> str | None:
    """Return the value in "set it to debug", "no, info", "make it 12"; None where there is none."""
    found = re.match(
        r"^(?:(?:no|and|now|ok|okay|then|please|actually|sorry|hmm|rather|well|good|wait"
        r"|oh)[ ,.!]+)*(?:(?:set|change|make|turn|switch|put|raise|lower|use|try|i mean(?:t)?"
        r"|take)(?: (?:it|that|this|back|the value|again|over))*(?: (?:to|at|as|on|=))?|to|=|it should be"
        r"|it must be|let it be)? ?(<[mnp]\d+>|[\w./:-]+)(?: (?:then|please|instead|rather|now|again|gb"
        r"|better))*[.!]?$",
        sentence.plain,
    )
    if not found or found[1] in (
        "it",
        "yes",
        "no",
        "why",
        "back",
        "please",
        "to",
        "help",
        "exit",
        "quit",
        "that",
        "cancel",
        "stats",
        "history",
        "list",
        "test",
    ):
        return None
    return _as_typed(sentence, found[1])


def _as_typed(sentence: Sentence, value: str) -> str:
    value = unmark(value, sentence.wording.entities)
    unit = _NUMBER_UNIT.match(value)
    if unit:
        return unit[1]
    value = value.rstrip(".,;:!?")
    typed = re.search(re.escape(value), sentence.wording.text, re.IGNORECASE)
    return typed[0] if typed else value
