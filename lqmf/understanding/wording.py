"""From a line as typed to plain English keywords with marks for everything that has a name of its own.

Knows spelling, contractions, other languages, and text that is not a request (control characters, injected orders).
Knows nothing of intents or slots.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from lqmf.understanding.lexicon import INTENTS, NUMBER_WORDS
from lqmf.understanding.models import Entity, Marker, mark_entities, mark_familiar
from lqmf.understanding.patterns import Pattern, words
from lqmf.understanding.spelling import corrected
from lqmf.understanding.translations import PHRASES, STEMS, WORDS

LONGEST = 400  # characters of a line that are read
RUN = 8  # characters of a run of signs that are read


@dataclass(frozen=True)
class Wording:
    """One line, read but not yet understood. `plain` has a mark for each of `entities`; `flags` are its `--options`."""

    text: str
    plain: str
    entities: tuple[Entity, ...]
    flags: tuple[tuple[str, str], ...] = ()


_QUOTES = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "–": "-", "—": " - ", "¿": " ", "¡": " "}
)

# Orders to the program itself, or to a shell: from here to the end of the sentence nothing is read.
_INJECTED = Pattern(
    r"""(?ix)
    (?: \b(?:ignore|disregard|forget|override|bypass|drop)\b [^.;!?]{0,40}?
        \b(?:rules?|instructions?|prompts?|guidelines|polic(?:y|ies)|restrictions?|safety
           |constraints?|training|limits?\ set|everything\ (?:above|before|you)
           |all\ (?:previous|prior|above)|what\ you\ were\ told)\b
      | \b(?:send|give|show|tell|print|reveal|leak|email|post|upload|expose|output|mail)\b (?:\ me|\ us)? [^.;!?]{0,30}?
        \b(?:api[ -]?keys?|passwords?|secrets?|credentials?|system\ prompt|hf[ _]tokens?
           |access\ tokens?|env(?:ironment)?\ variables?|\.env|/etc/\w+
           |private\ keys?|ssh\ keys?|(?:my|your|the)\ tokens?\b(?!\ (?:per|/)))
      | (?:^|[\s(\[<])\#*(?:system|assistant|developer)\s*(?:prompt|message|note|override)?\s*[:>\]]
      | \b(?:you\ are\ now|act\ as|pretend\ (?:to|that|you)|from\ now\ on\ you|new\ instructions?|enter\ \w+\ mode
          |jailbreak|sudo\b|you\ (?:must|have\ to|should)\ (?:now\ )?(?:obey|ignore|reveal|comply))
      | \brm\s+-\w+ | \b(?:run|execute|exec|eval)\b\s+(?:the\ )?
          (?:following|command|code|shell|script|this\ command|`|rm\b|curl|wget|bash|os\.)
      | \$\( | (?<![;&|])[;&|]++\s*
          (?:rm|curl|wget|cat|bash|sh|sudo|shutdown|reboot|mkfs|dd|python\d?|nc|chmod|echo|ls)\b
      | \b(?:curl|wget)\s+\S+ | __import__ | os\.system | <\s*/?script | \bdrop\ table\b | \{\{.*\}\}
      | \bdelete\ (?:all|every)\b[^.;!?]{0,20}\b(?:files|disk|system|drive|home|folder|directory)\b
    )""",
)
_SENTENCE_END = Pattern(
    r"(?<![.;!?])[.;!?]++(?=\s|$)|,?\s+(?:then|now|and then|after that)\s+(?=(?:please )?quanti|convert|make)"
)
_LEADS_INTO = Pattern(
    r"(?i)(?<![\s,;:&|-])[\s,;:&|-]*+(?:\b(?:and|but|also|oh|then|btw|by the way|p\.?s\.?|while you(?:'re| are) at it"
    r"|please|first|now)\b[\s,:]*+)*+$"
)

_CONTRACTIONS: tuple[tuple[Pattern, str], ...] = tuple(
    (Pattern(pattern), replacement)
    for pattern, replacement in (
        (
            r"\bits (quality|perplexity|accuracy|speed|throughput|size|integrity|details|checksums?|performance"
            r"|latency)\b",
            r"\1 of it",
        ),
        (r"\b(do|does|did|is|are|was|wo|would|should|could|have|has|must|need)n'?t\b", r"\1 not"),
        (r"\bwo not\b", "will not"),
        (r"\bcan(?:'?t|not)\b", "can not"),
        (r"\b(what|that|it|how|which|where|there|who|here|(?:some|any|every|no)thing)'?s\b(?! own)", r"\1 is"),
        (r"\b(i|we|you|they)'(?:d|ld)\b", r"\1 would"),
        (r"\bi'?ve\b", "i have"),
        (r"\bi'?m\b", "i am"),
        (r"\b(i|we|you|they|it|that)'?ll\b(?<!\bill)(?<!\bwell)", r"\1 will"),
        (r"\b(we|you|they)'(?:re|ve)\b", r"\1 are"),
        (r"\blet'?s\b", "let us"),
        (r"\bgimme\b", "give me"),
        (r"\b(?:wanna|want to)\b", "want to"),
        (r"\b(?:pls|plz|plse|pleas)\b", "please"),
        (r"\bu\b", "you"),
        (r"\bcpus\b", "cpu"),
        (r"\bgpus\b", "gpu"),
        (
            r"\bbits? *(?:and|n|&|'n'|'n|-and-) *b[yi]te?s\b|\bbits *n *bytes\b"
            r"|\bbits-and-bytes\b|\bbitsnbytes\b",
            "bitsandbytes",
        ),
        (r"\bllama[ _-]?cpp\b|\bllama ?\.cpp\b", "llama.cpp"),
        (r"\bauto[ -]?gptq\b", "gptq"),
        (r"\bhugging[ -]?face(?: ?hub)?\b|\bthe hub\b", "huggingface"),
        (r"\bfine[ -]?tun(e|ed|ing)\b", r"finetun\1"),
        (r"\b(?:log|sign)(?:ged|ed|ging)?[ -]?in\b", "login"),
        (r"\b(?:log|sign)(?:ged|ed|ging)?(?: me| us)? ?(?:out|off)\b", "logout"),
        (r"\b(?:log|sign) (?:me |us )?(?:back )?in(?:to)?\b", "login"),
        (r"\bpre[ -]flight\b", "preflight"),
        (r"\bre[ -](build|make|create|run|test)", r"re\1"),
        (r"\bk ?- ?quant(s?)\b", r"k-quant\1"),
        (r"\bd[ei]monstration\b", "demo"),
        (r"\bg\.?p\.?u\.?(?= |$)", "gpu"),
        (r"\bc\.?p\.?u\.?(?= |$)", "cpu"),
    )
)
_NUMBER = Pattern(
    r"\b("
    + "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
    + r")(?=[ -]?(?:bits?|gigs?|gigabytes?|gb|k|thousand|gi[bg]|,"
    r" |and |or |or|k tokens)\b|[ -](?:bits?|gigs?|gigabytes?|gb)\b)"
)
_WORD = Pattern(r"<\w\d+>|[^\W\d_]+(?:'[^\W\d_]+)?(?![\w./@\\])|\S")
_FLAG = Pattern(r"(?<!\S)--([a-z][a-z-]*)(?:[= ]\s*(?!--)(\"[^\"]*\"|'[^']*'|\S+))?")
_SWITCHES = words("""yes json quick comprehensive imatrix no-imatrix cpu-fallback no-cpu-fallback force gate verbose""")


def read(line: str) -> Wording:
    """Return the wording of a line: plain English keywords, with marks for the names in it."""
    text = clean(line)
    body, flags = _flags(_without_injection(_ALONE.get(text.lower(), _SLASH.sub("", text))))
    marker = Marker()
    masked = mark_familiar(without_huge(mark_entities(body, marker)), marker)
    plain = mark_familiar(_plain(masked), marker)
    return Wording(text, plain, tuple(marker.entities), flags)


# "/help" and "--help" are commands as in other chats; "/models/x" is a path.
_SLASH = Pattern(rf"(?i)^/(?=(?:{'|'.join(sorted(INTENTS))}|quit|bye|ls|ps|cls|new|info|disk|llm|hf|parse)(?:\s|$))")
_ALONE = {"--help": "help", "-h": "help", "-?": "help", "/?": "help", "--list": "list", "--version": "doctor"}


def clean(line: str) -> str:
    """Return the line without control characters, odd spaces and quotes, and no longer than `LONGEST` characters."""
    text = unicodedata.normalize("NFKC", line[:LONGEST])[:LONGEST].translate(_QUOTES)
    text = "".join(" " if _invisible(c) or _is_picture(c) else c for c in text).replace("<", " ").replace(">", " ")
    return _RUN.sub(lambda found: found[0][:RUN], " ".join(text.split())).removeprefix("$ ").strip()


_RUN = Pattern(r"[^\w\s./]{9,}|\.{9,}|/{9,}")  # "!!!!!!!!!" says no more than "!!!!!!!!"


def huge(text: str) -> tuple[str, ...]:
    """Return the numbers in a text that are larger than anything counted here. None of them is read as a number."""
    return tuple(found[0] for found in _HUGE.finditer(text))


def without_huge(text: str) -> str:
    """Return a text without the numbers that `huge` finds."""
    return _HUGE.sub(" ", text)


_HUGE = Pattern(r"(?<![\w.@/-])\d(?:,?\d){12,}(?:\.\d+)? ?(?:[kmgt]?i?b?\b)?", re.IGNORECASE)


def _is_picture(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character) in ("So", "Sk")


def _invisible(character: str) -> bool:
    return (
        (not character.isascii() and unicodedata.category(character)[0] in "CZ")
        or ord(character) < 32
        or character == "\x7f"
    )


def _without_injection(text: str) -> str:
    for _ in range(5):
        found = _INJECTED.search(text)
        if found is None:
            break
        rest = text[found.end() :]
        end = _SENTENCE_END.search(rest)
        text = _LEADS_INTO.sub("", text[: found.start()]) + " ; " + (rest[end.end() :] if end else "")
    return text.strip(" ;")


def _flags(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the line without its options, and the options of a command line in it, by name."""
    flags: list[tuple[str, str]] = []

    def take(found: re.Match[str]) -> str:
        name, value = found[1], (found[2] or "").strip("\"'")
        flags.append((name, "" if name in _SWITCHES else value))
        return f" {value} " if name in _SWITCHES and value else " "

    return _FLAG.sub(take, text), tuple(flags)


def _plain(masked: str) -> str:
    text = _without_accents(masked.lower())
    text = text.removeprefix("lqmf ").strip()
    for stem, english in STEMS if not text.isascii() else ():
        text = stem.sub(english, text)
    text = _IDEOGRAPHS.sub(" ", text)
    for pattern, english in PHRASES:
        text = pattern.sub(english, text)
    for pattern, replacement in _CONTRACTIONS:
        text = pattern.sub(replacement, text)
    text = _WORD.sub(lambda found: _keyword(found[0]), text)
    for pattern, then in _AFTER:
        text = pattern.sub(then, text)
    text = _NUMBER.sub(lambda found: NUMBER_WORDS[found[1]], text)
    return " ".join(text.split())


_IDEOGRAPHS = Pattern(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_GERUNDS = {
    **{
        verb + "ing": verb
        for verb in ("test", "benchmark", "rebuild", "list", "show", "chat", "plan", "check", "train")
    },
    **{
        verb[:-1] + "ing": verb
        for verb in ("quantize", "delete", "remove", "compare", "serve", "resume", "finetune", "make")
    },
    **{"verifying": "verify", "converting": "convert", "running": "run", "planning": "plan", "compressing": "compress"},
    **{"shrinking": "shrink", "switching": "switch", "explaining": "explain", "turning": "turn", "using": "use"},
}
_AFTER: tuple[tuple[Pattern, str | Callable[[re.Match[str]], str]], ...] = (
    (Pattern(r"\bquanti[sz]"), "quantiz"),
    (
        Pattern(rf"(?:(?:would|do) you mind|begin|start) ({'|'.join(_GERUNDS)})\b"),
        lambda found: f"please {_GERUNDS[found[1]]}",
    ),
    (Pattern(r"\bggufi(?:fy|ze)\b"), "quantize to gguf"),
    (Pattern(r"\bbit's\b|(?<=\d)[ -]?(?:bti|btis|bist|bitt|bitts|bt|bts|bbits?|biit|bites?)\b"), " bits"),
)


@lru_cache(maxsize=8192)
def _keyword(word: str) -> str:
    if word[0] == "<" or len(word) < 2:
        return word
    return WORDS.get(word) or corrected(word)


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(
        c if ord(c) > 0x24F else "".join(p for p in unicodedata.normalize("NFD", c) if not unicodedata.combining(p))
        for c in text.replace("ß", "ss")
    )
