"""Reads from a sentence how a model is to run: the type of its key and value cache, and how many chats at once.

Knows the words around these two. Knows nothing of intents, of the model's own bits and types, or of earlier sentences.
"""

from __future__ import annotations

import re

from lqmf.understanding.lexicon import NUMBER_WORDS
from lqmf.understanding.patterns import Pattern

# ---------------------------------------------------------------- the cache's type

_TYPE = (
    r"(?:iq4_nl|q[458](?:_[01])?|int[ -]?[48]|fp8|bf16|fp?16|fp?32|(?:4|5|8|16|32)[ -]?bits?|half[ -]precision"
    r"|full[ -]precision|(?:un|non-?)quantized|uncompressed)"
)
_SPELLINGS: dict[str, str] = {
    **dict.fromkeys(("q8", "int8", "fp8", "8bit", "8bits"), "q8_0"),
    **dict.fromkeys(("q4", "int4", "4bit", "4bits"), "q4_0"),
    **dict.fromkeys(("q5", "5bit", "5bits"), "q5_0"),
    **dict.fromkeys(("f16", "fp16", "16bit", "16bits", "halfprecision", "fullprecision", "uncompressed"), "f16"),
    **dict.fromkeys(("unquantized", "nonquantized"), "f16"),
    **dict.fromkeys(("f32", "fp32", "32bit", "32bits"), "f32"),
    **{name: name for name in ("q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl", "bf16")},
}
_CACHE = r"(?:(?:kv|k/v|key[ /-]value|kv store)(?:[ -]?caches?)?|caches?)\b"
_LINK = (
    r"(?:[ :=]+(?:caches?|types?|quantized|quantization|quant|compressed|precision|is|was|were|be|should|must|set"
    r"|back|down|in|at|on|to|of|as|with|using|the|also|only|too|stored|kept|held|run))*[ :=]+"
)
_PAIR = Pattern(rf"(?:\b{_CACHE}{_LINK})?(?<![\w.])({_TYPE})/({_TYPE})(?![\w/])(?: {_CACHE})?")
_SIDE = r"(?P<{}>k|keys?|v|values?)(?:[ -]caches?)?\b"
_ONE_SIDE = Pattern(
    rf"\b{_SIDE.format('side')}{_LINK}(?P<after>{_TYPE})\b"
    rf"|(?<![\w.])(?P<before>{_TYPE})(?: (?:for|in|on|as|the|its|quantized))* {_SIDE.format('of')}"
)
_BEFORE = Pattern(rf"(?<![\w.])({_TYPE})(?: (?:quantized|precision|for|on|the|its))*[ -]{_CACHE}(?: quantization)?")
_AFTER = Pattern(rf"\b{_CACHE}{_LINK}({_TYPE})(?![\w.])")
_REFUSED = Pattern(
    r"\b(?:no|not|without|do not|never|disable|turn off|undo|drop|skip)"
    rf"(?: (?:to|use|using|an?|the|any|want|need|quantiz\w+|compress\w*|{_TYPE}))* {_CACHE}"
    r"(?: (?:quantization|quantizing|compression))?"
)
_QUANTIZED = Pattern(
    rf"\b(?:quantiz(?:ed?|ing)|compress(?:ed|ing)?|smaller|shrunken)(?: (?:the|its|my))* {_CACHE}"
    rf"|\b{_CACHE} (?:quantized|quantization|compression|compressed)\b"
)


def cache_type(spelling: str) -> str | None:
    """Return llama.cpp's name of a cache type: "8 bit" -> "q8_0", "fp16" -> "f16"; two with a slash are keys/values.
    None for another word."""
    names = [_SPELLINGS.get(re.sub(r"[ -]", "", part)) for part in spelling.lower().split("/")]
    known = [name for name in names if name]
    if len(known) != len(names) or len(names) > 2:
        return None
    return known[0] if len(set(known)) == 1 else "/".join(known)


def kv_type(plain: str) -> tuple[str | None, str]:
    """Return the type wanted for the cache, or None; and the sentence without these words."""
    if not any(word in plain for word in ("kv", "k/v", "cache", "key")):
        return None, plain
    refused = _REFUSED.search(plain)
    if refused and (re.search(r"quanti|compress", refused[0]) or re.search(_TYPE, refused[0])):
        return "f16", _without(plain, refused)
    pair = _PAIR.search(plain)
    if pair and re.search(_CACHE, plain):
        return cache_type(f"{pair[1]}/{pair[2]}"), _without(plain, pair)
    sides = {(found["side"] or found["of"])[0]: found for found in _ONE_SIDE.finditer(plain)}
    if len(sides) == 2 or any("cache" in found[0] for found in sides.values()):
        types = {side: found["after"] or found["before"] for side, found in sides.items()}
        return cache_type(f"{types.get('k', 'f16')}/{types.get('v', 'f16')}"), _ONE_SIDE.sub(" ", plain)
    found = _BEFORE.search(plain) or _AFTER.search(plain)
    if found:
        return cache_type(found[1]), _without(plain, found)
    quantized = _QUANTIZED.search(plain)
    return ("q8_0", _without(plain, quantized)) if quantized else (None, plain)


def _without(plain: str, found: re.Match[str]) -> str:
    return f"{plain[: found.start()]} {plain[found.end() :]}"


# ---------------------------------------------------------------- chats at once

_WORDS = {**NUMBER_WORDS, "single": "1", "couple of": "2", "nine": "9"}
_N = r"(?<![\w.<-])(?P<n>\d{1,3}|" + "|".join(sorted(_WORDS, key=len, reverse=True)) + ")"
_MYSELF = "me"  # one chat
_USES = r"(?:chats?|conversations?|dialogues?|sessions?|users?|clients?|requests?|sequences?|streams?|slots?|callers?)"
_PEOPLE = (
    rf"(?:{_USES}|people|persons?|colleagues?|co-?workers|employees|friends|kids|children|students|of us|calls|queries"
    r"|prompts|agents?)"
)
_AT_ONCE = r"(?:at once|at a time|at (?:the|one) same time|at one time|simultaneously|concurrently|in parallel)\b"
_SPEAKS_OF_MANY = Pattern("parallel|concurr|simult|once| time|for |but |serv|with |support|only|just|people|user")
_PARALLEL: tuple[Pattern, ...] = tuple(
    Pattern(pattern)
    for pattern in (
        _N + rf"(?: \w+)? {_PEOPLE}(?: \w+){{0,4}}? {_AT_ONCE}",
        _N + rf" {_PEOPLE} (?:\w+ )?(?:shar|us|access|talk|connect|chat)(?:e|es|ing)?\b",
        _N + rf" {_AT_ONCE}",
        rf"\b(?:team|group|family|class) of {_N}(?: \w+){{0,4}}? {_AT_ONCE}",
        _N + rf" (?:parallel|concurrent|simultaneous)(?: (?:\w+ )?{_PEOPLE}\b|(?=[\s?!.]*$|,))",
        r"\b(?:for|serv(?:e|es|ing)|handle|support|with|only|just) (?:only |just |up to |about |a )*"
        + _N
        + rf" {_USES}\b(?! (?:per|a|/) )",
        r"^(?:[a-z]+[ ,]+){0,5}for " + _N + rf" {_PEOPLE}[\s?.!]*$",
        r"(?:^|[,;:.] ) *(?:[a-z]+[ ,]+){0,5}" + _N + rf" (?:\w+ )?{_PEOPLE}(?: \w+){{0,4}}[\s?.!]*$",
        rf"\bjust (?P<n>{_MYSELF})(?: alone)?(?=[ ,.!?]*$|[ ,]+one\b)",
        r"\b(?:parallel(?:ism)?|concurrency|n_parallel)(?: (?:requests|sequences|chats|users|slots))?"
        r"(?: (?:of|to|is|at))*[ :=]+" + _N + r"\b",
    )
)


def parallel(plain: str) -> tuple[int | None, str]:
    """Return how many chats are to be served at once, or None; and the sentence without these words."""
    for pattern in _PARALLEL if _SPEAKS_OF_MANY.search(plain) else ():
        found = pattern.search(plain)
        if found:
            number = 1 if found["n"] == _MYSELF else int(_WORDS.get(found["n"], found["n"]))
            return (number or None), _without(plain, found)
    return None, plain
