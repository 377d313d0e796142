"""Whether something is to be done, is asked about, or is not to be done. A question never acts, and neither does a no.

Knows plain sentences and the words of doing. Knows nothing of values or of earlier lines.
"""

from __future__ import annotations

from typing import Literal

from lqmf.records import Decision
from lqmf.understanding.courtesy import DOING, only_denied
from lqmf.understanding.patterns import Pattern, words
from lqmf.understanding.slots import NO_TEST

Mood = Literal["order", "asked", "wondered", "denied"]
DENIED = "says what is not to be done"
ASKED = "asks about doing it: "

# Everything but looking: what changes files, settings, accounts or jobs, takes long, or ends the chat.
ACTS = words(
    """quantize test benchmark delete rebuild report docs chat experiment finetune adapters serve sweep publish hf_login
    hf_logout llm_switch config demo cancel resume exit clear"""
)
_OPENING = (
    r"^(?:(?:and|so|but|ok|okay|hmm+|well|wait|oh|hi|hey|hello|now|then|sorry|or|just|actually|quick question)"
    r"[ ,:;.!-]+)*+"
)
# "Can I get a 4-bit gguf?" and "could we use gptq?" are orders in the form of a question.
_POLITE = (
    r"(?!(?:can|could|may|might) (?:(?:i|we) (?:please |also |just )?(?:get|have|see|ask)|we (?:make|do|use|go|try))\b"
    r"|(?:would|will|is) it (?:be )?possible (?:for you )?to\b|is there any chance you|what can (?:i|be) test)"
)
_WHETHER = (
    r"(?:is|are|am|was|were|does|did|has|have (?:i|we|you)|had|should|shall|must|may|might|(?:can|could|would|will)"
    r" (?!you\b|ya\b|some(?:one|body)\b|any(?:one|body)\b|lqmf\b|do\b)\S+|do (?:i|we|you|they)|need i"
    r"|what(?! about)|when|where|why(?! (?:do|can) not)|who|how(?! about)|which|if (?:i|we)|suppose|wonder\w*"
    r"|(?:tell me|(?:i )?(?:am |do )?not (?:know|sure|certain)|unsure|i am (?:unsure|undecided|curious)|i (?:want"
    r"|need) to"
    r" know|i (?:am )?ask(?:ing)?)(?: \w+)? (?:if|whether|how|what|when|why)"
    r"|i (?:am |was |have been )?(?:wonder\w*|considering|(?:thinking|think) (?:of|about))"
    r"|(?:maybe|perhaps) (?:i|we) (?:should|could|might)|i (?:might|may|could|should))\b"
)
_ABOUT_DOING = Pattern(rf"{_OPENING}{_POLITE}{_WHETHER}.*\b{DOING}")
_WONDERS = Pattern(rf"{_OPENING}{_POLITE}{_WHETHER}(?! you\b).*\?\s*$")
_OPENS = Pattern(rf"{_OPENING}{_POLITE}{_WHETHER}(?! you\b)")
_BARE = Pattern(rf"{_OPENING}(?:really )?{DOING}[^.;]*\?\s*$")
_ORDERS_TOO = Pattern(rf"[.;:!?,] (?:(?:so|and|then|please|just|ok|now),? )*{DOING}(?! \w+ing)[^?]*$")


def asked_about(decision: Decision) -> str | None:
    """Return the intent that a line only asked about; None where it asked about none."""
    return decision.reason.removeprefix(ASKED) if decision.reason.startswith(ASKED) else None


def is_question(plain: str) -> bool:
    """Return whether a plain sentence opens as a question does, with or without its mark."""
    return _OPENS.match(plain) is not None


def mood(plain: str) -> Mood:
    """Return the mood of a plain sentence: an order, a question about doing something, any other question, or a
    refusal."""
    plain = NO_TEST.sub(" ", plain)
    if only_denied(plain):
        return "denied"
    if _ORDERS_TOO.search(plain):
        return "order"
    if _ABOUT_DOING.search(plain) or _BARE.search(plain):
        return "asked"
    return "wondered" if _WONDERS.search(plain) else "order"
