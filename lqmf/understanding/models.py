"""The things with a name in a sentence: Hub ids, paths, artifacts, familiar models, quoted words.

Knows how they are spelled. Knows nothing of intents, of the network, or of which of them exist. Each is replaced by a
mark (`<m0>`, `<n1>`, `<p2>`), so that no part of an id is ever read as a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lqmf.understanding.familiar import CANONICAL, FAMILIES
from lqmf.understanding.patterns import Pattern, words

Kind = Literal["m", "n", "p", "q"]  # model, artifact's name, path, quoted word


@dataclass(frozen=True)
class Entity:
    """A thing named in a sentence. `kind` "m" is a model, "n" an artifact, "p" a path, "q" a quoted word."""

    kind: Kind
    text: str
    familiar: bool = False


MARK = Pattern(r"<([mnpq])(\d+)>")
HUB_ID = Pattern(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_](?:[\w.-]*\w)?(?:@[\w./-]*\w)?", re.ASCII)
ARTIFACT = Pattern(
    r"[A-Za-z0-9][\w.+-]*_(?:gguf|gptq|bnb|\d+bit)(?:_[\w.-]*\w)?"
    r"|[A-Za-z0-9][\w.+-]*[_-]\w*_v\d+"
    r"|[A-Za-z0-9][\w.+-]*\w\.gguf",
    re.ASCII | re.IGNORECASE,
)

_START, _END = r"(?<![\w./@~\\<-])", r"(?![\w/\\]|-\w)"
_QUOTED = Pattern(r"\"([^\"]{1,200})\"|(?<!\w)'([^']{1,200})'(?!\w)|`([^`]{1,200})`")
_URL = Pattern(r"(?:https?://)?(?:www\.)?(huggingface\.co|hf\.co)/([\w.-]+/[\w.-]*\w)(?:/(?:tree|blob)/([\w.-]+))?\S*")
_OWN_SERVER = Pattern(
    r"(?i)(?:https?://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|192\.168\.\d+\.\d+):\d+(?:/[\w./-]*)?"
    r"|https?://(?:localhost|127\.0\.0\.1)(?:/[\w./-]*)?"
    r"|https?://[\w.-]+:\d+(?:/[\w./-]*)?"
)
_OTHER_URL = Pattern(r"https?://\S+")
_PATH = Pattern(r"(?<![\w./~\\<])(?!/ )(?:(?:\.{1,2}|~)?/|~(?=\s|$)|[A-Za-z]:[\\/]|\.\\)[^\s,;\"'|&<>$`()]*", re.ASCII)
_DOT = Pattern(r"(?<=\s)\.(?=\s|$)")
_FILE = Pattern(
    _START + r"[\w.-]+(?:/[\w.-]+)*\.(?:txt|jsonl?|csv|tsv|parquet|md|html?|pdf|raw|dat)(?:\.gz)?\b", re.I | re.A
)
_HUB = Pattern(_START + HUB_ID.pattern, re.ASCII)
_NAME = Pattern(_START + f"(?:{ARTIFACT.pattern})" + _END, re.ASCII | re.IGNORECASE)
_REVISION = Pattern(
    r"(<m(\d+)>),? *(?:at |in |with |from )?(?:the )?(?:git )?(?:revision|commit|branch|rev) ([\w./-]*\w)"
)

_VERSION = (
    r"(?:[ -]?v?\d(?:\.\d)?(?![\w.]|[ -]?bits?\b| ?(?:gb|gi[bg]|gig|tokens)|,? *(?:or|and|,"
    r"|to) *\w+[ -]?bits?\b))"
)
_SIZE = r"(?:[ _:-]?\d+(?:x\d+)?(?:[._]\d+)?[bm](?![A-Za-z]))"
_TAIL = r"(?:[ -](?:instruct|chat|hf|base|mini|medium|v\d+(?:\.\d+)*)(?![\w/])|-(?!bits?\b)[A-Za-z0-9][\w.]*)*"

# Words that a slash joins in plain English, so that "cpu/gpu" is no Hub id.
_PLAIN_SIDES = words(
    """and or cpu gpu yes no he she his her him w n a s quality speed size gguf gptq bnb nf4 fp4 int8 int4 ram vram
    in out input output k km tokens token sec second test compare list show delete on off either true false slow
    fast small big 24 12 1 2 3 4 5 6 7 8 16 32 t tok models model yes/no client server tcp
    v q8_0 q5_0 q5_1 q4_0 q4_1 q8 q5 q4 f16 fp16 bf16 f32 fp32"""
)


def _family_pattern() -> str:
    choices = []
    for stem, (versions, bare) in FAMILIES.items():
        version = _VERSION if versions else ""
        if bare:
            choices.append(f"(?:{stem}){version + '?' if version else ''}{_SIZE}?")
        elif version:
            choices.append(f"(?:{stem})(?:{version}{_SIZE}?|{_SIZE})")
        else:
            choices.append(f"(?:{stem}){_SIZE}")
    return "(?:" + "|".join(choices) + ")" + _TAIL


_FAMILIAR = Pattern(r"(?<![\w./@<-])" + _family_pattern() + r"(?![\w/])", re.IGNORECASE | re.ASCII)


class Marker:
    """Collects the entities of one sentence, while marks take their places."""

    def __init__(self) -> None:
        self.entities: list[Entity] = []

    def mark(self, kind: Kind, text: str, *, familiar: bool = False) -> str:
        """Keep an entity and return the mark that stands for it."""
        self.entities.append(Entity(kind, text, familiar))
        return f"<{kind}{len(self.entities) - 1}>"

    def replace(self, pattern: Pattern, kind: Kind, text: str) -> str:
        """Return `text` with every match of `pattern` marked as `kind`."""
        return pattern.sub(
            lambda found: self.mark(kind, _trimmed(found[0])) + found[0][len(_trimmed(found[0])) :], text
        )


def mark_entities(text: str, marker: Marker) -> str:
    """Return the sentence with every spelled-out id, path, artifact and file marked."""
    text = _QUOTED.sub(lambda found: _mark_quoted(found, marker), text)
    text = _URL.sub(lambda found: marker.mark("m", found[2] + (f"@{found[3]}" if found[3] else "")), text)
    text = _OTHER_URL.sub(" ", _OWN_SERVER.sub(" localhost ", text))
    text = marker.replace(_PATH, "p", text)
    text = marker.replace(_DOT, "p", text)
    text = marker.replace(_FILE, "p", text)
    text = _HUB.sub(lambda found: _mark_hub(found, marker), text)
    text = marker.replace(_NAME, "n", text)
    return _REVISION.sub(lambda found: _with_revision(found, marker), text)


def mark_familiar(text: str, marker: Marker) -> str:
    """Return the sentence with familiar model names ("mistral 7b") marked."""
    return _FAMILIAR.sub(lambda found: marker.mark("m", found[0].strip(), familiar=True), text)


def unmark(text: str, entities: tuple[Entity, ...]) -> str:
    """Return the sentence with the words of the entities in place of their marks."""
    return MARK.sub(lambda found: entities[int(found[2])].text, text)


def is_path(text: str) -> bool:
    """Return whether a model is given as a path: `./`, `../`, `/`, `~`, a drive, or `.` itself."""
    return text == "." or _PATH.fullmatch(text) is not None


def canonical(name: str) -> str | None:
    """Return the Hub id that a familiar name stands for ("Mistral 7B" -> "mistralai/Mistral-7B-v0.3"), or None."""
    if HUB_ID.fullmatch(name) or is_path(name):
        return None
    key = re.sub(r"[\s_:-]+", "", name.lower()).removeprefix("meta").replace("_", ".")
    for candidate in (key, *(key.removesuffix(tail) for tail in ("hf", "base", "model", "chat", "instruct"))):
        if candidate in CANONICAL:
            return CANONICAL[candidate]
    return None


@lru_cache(maxsize=1)
def familiar_words() -> frozenset[str]:
    """Return the families' names as single words, for the correction of typing errors."""
    return frozenset(
        word
        for word in (re.sub(r"[^a-z].*", "", key) for key in CANONICAL)
        if len(word) > 4 and word not in ("flant", "codet")
    )


def _trimmed(text: str) -> str:
    return text if text in (".", "..", "~") else text.rstrip(".,:;!?") or text


def _mark_quoted(found: re.Match[str], marker: Marker) -> str:
    inner = next(group for group in found.groups() if group is not None).strip()
    if _PATH.match(inner) and " " in inner:
        return f" {marker.mark('p', inner)} "
    return f" {inner} "


def _mark_hub(found: re.Match[str], marker: Marker) -> str:
    text = _trimmed(found[0])
    left, _, right = text.lower().partition("/")
    if left in _PLAIN_SIDES and (right in _PLAIN_SIDES or "/" not in text) and _is_plain(right):
        return found[0]
    return marker.mark("m", text) + found[0][len(text) :]


def _is_plain(side: str) -> bool:
    return side in _PLAIN_SIDES or (side.isalpha() and len(side) < 4) or side.isdigit()


def _with_revision(found: re.Match[str], marker: Marker) -> str:
    index = int(found[2])
    entity = marker.entities[index]
    if "@" not in entity.text:
        marker.entities[index] = Entity("m", f"{entity.text}@{found[3]}")
    return found[1]
