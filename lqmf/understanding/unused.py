"""The unused parts of a wish: every part that could be left out of the line without changing how it is read.

Knows lines and their readings. Knows nothing of what is done with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lqmf.records import Decision
from lqmf.understanding.lexicon import METHOD, MOST, REQUESTS, type_name
from lqmf.understanding.patterns import Pattern, words
from lqmf.understanding.sentence import CORRECTS, understand
from lqmf.understanding.slots import below_zero, without_refused
from lqmf.understanding.wording import LONGEST, clean, huge

OFFERED = "gguf, gptq and bnb are offered"
MOST_WORDS = 30  # of a line: a story is no list of wishes
_PART = Pattern(
    r"(?i)[,;]\s+|\s+(?=(?:and|but|plus|with|without|using|as|to|into|in|via|by|no|not|skip|keep|also|at)\b)"
    r"|(?<=\w)\s+(?=(?:don't|do not|never)\b)"
)
_WISHES = Pattern(
    r"(?i)(?:(?:and|but|plus|also|then|please)\s+)*"
    r"(?:with|without|using|use|as|to|into|in|via|by|no|not|skip|keep|don't|do not|never|add|make|at|upload|push"
    r"|publish|delete|open|run|send|chat|start)\b"
)
_DONE_ANYWAY = Pattern(r"(?i)^(?:(?:and|plus)\s+)?(?:with|using)\b.*\b(?:imatrix|importance matrix)\b")
_OTHER_METHOD = Pattern(
    r"(?i)\b(?:awq|autoawq|exl[23]|exllama\w*|hqq|aqlm|eetq|quip#?|spqr|fp8|mlx|onnx|openvino|coreml|tflite|ollama)\b"
)
_LIKE_A_TYPE = Pattern(r"(?i)(?<![\w.])(?:i?q|tq|nf|fp|int)\d+(?:_\w+)?(?!\w)")
# Words that wish for nothing by themselves.
_NEUTRAL = words(
    """the a an my our your its of for it that this them one me us i we you and but also plus then please with
    without as to into in on at by using use make get have want need would like can could model models version file
    files format type quantization quant machine laptop pc computer desktop server home work here there some any all
    so thanks thank help possible if now today later again just only really very quite course no not do don't add
    keep be is are will should half way order order, small bit little lot time place case fact general mind least
    end total addition once"""
)


def unused(line: str, decision: Decision) -> tuple[str, ...]:
    """Return the parts of a line that its decision does not use, a phrase for each, with the reason where it is
    known."""
    if decision.intent not in REQUESTS:
        return ()
    numbers = [f"{amount} is no amount of memory" for amount in below_zero(line)]
    numbers += [f"{number[:12]}.. (larger than anything counted here)" for number in huge(line)]
    cut = [f"what follows the first {LONGEST} characters"] if len(line) > LONGEST else []
    return (*numbers, *(_with_reason(part) for part in _without_use(clean(line))), *cut)


def _without_use(text: str) -> list[str]:
    parts = [part for part in _PART.split(text) if part.strip()]
    if not 1 < len(parts) <= MOST_WORDS or len(text.split()) > MOST_WORDS or CORRECTS.search(text.lower()):
        return []
    whole, left_out = _reading(text), []
    for part in [part for part in parts if _is_wish(part)]:
        rest = [one for one in parts if one is not part and one not in left_out]
        if _reading(" ".join(rest)) == whole:
            left_out.append(part)
    return [part.strip(" ,.;:!?") for part in left_out]


def _reading(text: str) -> object:
    sentence = understand(text)
    intent = sentence.rule.intent if sentence.rule else None
    return intent, sentence.said, sentence.models, sentence.names


def _is_wish(part: str) -> bool:
    plain = part.lower()
    if without_refused(plain) != plain or _DONE_ANYWAY.match(part.strip()):
        return False
    meaning = [word for word in _words(part) if word not in _NEUTRAL]
    return bool(meaning) and _WISHES.match(part.strip()) is not None


def _words(part: str) -> Iterator[str]:
    return (found[0] for found in re.finditer(r"[\w'.+#/-]+", part.lower()))


def _with_reason(part: str) -> str:
    if _OTHER_METHOD.search(part) and not METHOD.search(part.lower()):
        return f"{part} ({OFFERED})"
    like = _LIKE_A_TYPE.search(part)
    if like and type_name(like[0]) is None:
        return f"{part} (there is no type {like[0]})"
    digits = re.search(r"(\d+)[ -]?bits?\b", part.lower())
    if digits and not 1 <= int(digits[1][:9]) <= MOST["bits"]:
        return f"{part} (there are 1 to {MOST['bits']} bits)"
    return part
