"""Whether `demo` in a sentence is the bundled model's name, as in "will demo fit here?", or the demo that LQMF shows.

Knows the words around it. Knows nothing of the model.
"""

from __future__ import annotations

from dataclasses import replace

from lqmf.understanding.intents import classify
from lqmf.understanding.models import Entity
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.wording import Wording

NAME = "demo"
_MAKE = (
    r"(?:(?:re)?quantiz(?:e|ing)|quant|compress|shrink|squeeze|convert|plan|preflight|sweep|finetune|train|compare|of"
    r"|(?:i|we) (?:run|fit|load|host|use)|same (?:for|with|on|to)|what about|how about)"
)
_NEEDS = r"(?: \w+)? (?:fits?|runs? (?:on|in|with|here)|needs? (?!an?\b)|requires?)"
_END = r"(?![\w./@-])(?! (?:mode|run(?! (?:on|in|with|here|well|fast)\b)|day|video|session|purposes?)\b)"
_MODEL = Pattern(
    rf"(?P<before>\b{_MAKE} (?:(?:the|my|this|model|bundled) )*"
    rf"|\b(?:can|could|will|would|does|do|should) the (?=demo{_NEEDS})"
    rf"|(?<![\w.<@/-])(?=demo model\b))demo{_END}"
)
# A word before it that says that it is no name: "a quick demo", "the demo", "then run demo".
_BARE = Pattern(
    r"(?P<kept>\b(?:an?|any|another|some|the|my|your|our|this|that|quick|short|live)"
    r" (?:(?!of\b|for\b|from\b|to\b|with\b|in\b|on\b)\w+ )?demo\b"
    r"|(?:^|[,.;!] |\b(?:and|then|please|you|us|just|now|first|also) )(?:run|show|see|start|watch|play|launch|do|try)"
    r"(?: me| us)? demo\b)"
    rf"|(?<![\w.<@/-])demo{_END}"
)
_ANOTHER = Pattern(
    r"^(?:(?:ok|okay|so|oh|hmm+|sorry)[ ,]+)*(?:(?:no|nope|actually|rather|i meant?|and|or|but|what about|how about"
    r"|with|for)[ ,]+)+(?:the )?demo(?: (?:then|instead|please|too|as well))*[\s?!.]*$"
)


def with_bundled(wording: Wording, of_models: bool) -> Wording:
    """Return the wording with the bundled model's name marked as other models' names are, where it is meant.
    `of_models`: the line before asked for a model, so that "and demo?" asks for this one."""
    if NAME not in wording.plain:
        return wording
    plain = _marked(wording.plain, f"<m{len(wording.entities)}>", of_models)
    if plain == wording.plain:
        return wording
    return replace(wording, plain=plain, entities=(*wording.entities, Entity("m", NAME, familiar=True)))


def _marked(plain: str, mark: str, of_models: bool) -> str:
    if of_models and _ANOTHER.match(plain):
        return plain.replace(NAME, mark)
    rule = classify(plain)
    if rule is not None and rule.intent == "demo":
        return plain
    plain = _MODEL.sub(lambda found: found["before"] + mark, plain)
    return _BARE.sub(lambda found: found["kept"] or mark, plain)
